"""GPT-2's byte-level BPE: text to token ids and back, and a visible form for every token.

The merging itself is tiktoken's, built from a model directory's own vocab.json and merges.txt,
never from the network. Source: Radford et al. 2019, section 2.2; OpenAI's encoder.py.
Imports: tiktoken.
"""

import codecs
import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks

ENDOFTEXT = "<|endoftext|>"
ENDOFTEXT_ID = 50256

# OpenAI's encoder.json and vocab.bpe, called vocab.json and merges.txt in a model directory.
VOCAB_SHA256 = {
    "vocab.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "merges.txt": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}

# How GPT-2 cuts text into words before merging, as in OpenAI's encoder.py.
_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

_VISIBLE = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍"}
_INVISIBLE_CATEGORIES = frozenset(("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"))


class Tokenizer:
    """GPT-2's vocabulary: 50,256 byte strings and <|endoftext|>. Safe to share between threads."""

    def __init__(self, directory: str | Path) -> None:
        """Read the vocabulary of a model directory.

        Args:
            directory: holds vocab.json and merges.txt.

        Raises:
            FileNotFoundError: one of the two is missing.
            ValueError: one of the two is not GPT-2's own file.
        """
        check_vocabulary(directory)
        ranks = data_gym_to_mergeable_bpe_ranks(
            vocab_bpe_file=str(Path(directory) / "merges.txt"),
            encoder_json_file=str(Path(directory) / "vocab.json"),
            vocab_bpe_hash=VOCAB_SHA256["merges.txt"],
            encoder_json_hash=VOCAB_SHA256["vocab.json"],
        )
        self._bpe = tiktoken.Encoding(
            name="gpt2",
            explicit_n_vocab=50257,
            pat_str=_SPLIT,
            mergeable_ranks=ranks,
            special_tokens={ENDOFTEXT: ENDOFTEXT_ID},
        )

    @property
    def vocab_size(self) -> int:
        """Number of tokens, 50,257."""
        return self._bpe.n_vocab

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; "<|endoftext|>" becomes the one token it names.

        Raises:
            ValueError: the text holds a lone surrogate, half of a character that has no UTF-8 form.
        """
        check_text(text)
        return self._bpe.encode(text, allowed_special={ENDOFTEXT})

    def encode_batch(self, texts: Sequence[str], *, threads: int = 2) -> list[list[int]]:
        """Token ids of many texts, on several threads."""
        return self._bpe.encode_batch(list(texts), allowed_special={ENDOFTEXT}, num_threads=threads)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of token ids; bytes that are not UTF-8 become U+FFFD."""
        return self._bpe.decode(list(ids), errors="replace")

    def decoder(self) -> "IncrementalDecoder":
        """A decoder for ids that arrive one at a time."""
        return IncrementalDecoder(self)

    def token_bytes(self, token: int) -> bytes:
        """The bytes a token stands for.

        Raises:
            ValueError: the id is not in the vocabulary.
        """
        if not 0 <= token < self.vocab_size:
            raise ValueError(f"token {token} is not between 0 and {self.vocab_size - 1}")
        return self._bpe.decode_single_token_bytes(token)

    def piece(self, token: int) -> str:
        """A token as it can be shown: spaces, controls, bidi marks and half characters visible."""
        return visible(self.token_bytes(token))


class IncrementalDecoder:
    """Turns a stream of ids into text without ever showing half a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        """The text that this token completes, possibly empty."""
        return self._utf8.decode(self._tokenizer.token_bytes(token))

    def flush(self) -> str:
        """What is left at the end: U+FFFD for a character that was never finished."""
        return self._utf8.decode(b"", final=True)


def check_text(text: str) -> None:
    """Refuse text that has no UTF-8 form.

    Raises:
        ValueError: it is no string, or holds a lone surrogate.
    """
    if not isinstance(text, str):
        raise ValueError(f"the text is a {type(text).__name__}; it must be a string")
    for position, character in enumerate(text):
        if "\ud800" <= character <= "\udfff":
            raise ValueError(
                f"character {position + 1} of the text is a lone surrogate "
                f"(U+{ord(character):04X}), half of a character; remove it or paste the text again"
            )


def check_vocabulary(directory: str | Path) -> None:
    """Refuse a directory without GPT-2's own vocab.json and merges.txt.

    Raises:
        FileNotFoundError, ValueError: one is missing; one is another file.
    """
    for name, sha256 in VOCAB_SHA256.items():
        check_vocabulary_file(Path(directory) / name, sha256)


def check_vocabulary_file(path: Path, sha256: str) -> None:
    """Refuse a vocabulary file that is missing or is not GPT-2's.

    Raises:
        FileNotFoundError, ValueError: as above.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; a model directory needs GPT-2's vocab.json and merges.txt"
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{path} is not GPT-2's vocabulary: its sha256 is {found[:12]}…, expected "
            f"{sha256[:12]}…; copy OpenAI's file there"
        )


@lru_cache(maxsize=65536)
def visible(raw: bytes) -> str:
    """Bytes as a string in which nothing is invisible: ·, ⏎, ⇥, U+202E, \\xE2."""
    text = raw.decode("utf-8", errors="surrogateescape")
    return "".join(_visible_character(character) for character in text)


def _visible_character(character: str) -> str:
    if character in _VISIBLE:
        return _VISIBLE[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8 by itself
        return f"\\x{code - 0xDC00:02X}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02X}"
    category = unicodedata.category(character)
    if category in _INVISIBLE_CATEGORIES:
        return f"U+{code:04X}"
    return f"◌{character}" if category in ("Mn", "Me") else character
