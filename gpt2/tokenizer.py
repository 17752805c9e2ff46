"""GPT-2's byte-level BPE: text to token ids and back, and a visible form for every token.

Any byte-level BPE is read, from a model directory's own files and never from the network. Source:
Radford et al. 2019, section 2.2.
"""

import codecs
import re
import unicodedata
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from gpt2.added_tokens import AddedToken
from gpt2.byte_pairs import merger_of
from gpt2.checks import check_text
from gpt2.visible import drawn, visible
from gpt2.vocabulary import ENDOFTEXT, find_vocabulary, read_vocabulary

__all__ = ["ENDOFTEXT", "ENDOFTEXT_ID", "IncrementalDecoder", "Tokenizer", "load_tokenizer"]

ENDOFTEXT_ID = 50256  # in GPT-2's own vocabulary


class Tokenizer:
    """The byte-level BPE of a model directory. Safe to share between threads.

    Attributes:
        vocab_size: the highest id + 1, 50,257 of GPT-2's own vocabulary.
        words: what each id stands for, as bytes.
        start_id: the token that a text may be conditioned on, 50256 there; None if there is none.
        end_id: the token that ends a text, likewise.
        max_length: tokens of the texts that the model was trained on, None if that is not said.
    """

    def __init__(self, directory: str | Path) -> None:
        """Read the vocabulary of a model directory.

        Raises:
            FileNotFoundError: it has none.
            ValueError: it is damaged, or no byte-level BPE.
        """
        vocabulary = read_vocabulary(directory)
        try:
            self.words = vocabulary.words()
        except ValueError as error:
            raise ValueError(f"{find_vocabulary(directory)[0]}: {error}") from error
        self.vocab_size = vocabulary.size
        self.start_id, self.end_id = vocabulary.start_id, vocabulary.end_id
        self.max_length = vocabulary.max_length
        self._prefix_space, self._normal_form = vocabulary.prefix_space, vocabulary.normal_form
        self._added = {added.text: (token, added) for token, added in vocabulary.added.items()}
        self._occurrences = _occurrences(vocabulary.added.values())
        self._merger = merger_of(vocabulary)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; "<|endoftext|>" and other added tokens become the one they name.

        Raises:
            ValueError: the text holds a lone surrogate, half of a character that has no UTF-8 form,
                or a byte for which this vocabulary has no token.
        """
        check_text(text)
        if self._normal_form:
            text = unicodedata.normalize(cast(Any, self._normal_form), text)
        ids: list[int] = []
        start = 0
        for match in self._occurrences.finditer(text):
            token, added = self._added[match[0]]
            before, start = text[start : match.start()], match.end()
            ids += self._ordinary(before.rstrip() if added.lstrip else before)
            ids.append(token)
            if added.rstrip:
                start = len(text) - len(text[start:].lstrip())
        return ids + self._ordinary(text[start:])

    def _ordinary(self, text: str) -> list[int]:
        if self._prefix_space and text and text[0] != " ":
            text = f" {text}"
        return self._merger.encode(text)

    def encode_batch(self, texts: Sequence[str], *, threads: int = 2) -> list[list[int]]:
        """Token ids of many texts, on several threads."""
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self.encode, texts))

    def decode(self, ids: Iterable[int]) -> str:
        """Text of token ids; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def decoder(self) -> "IncrementalDecoder":
        """A decoder for ids that arrive one at a time."""
        return IncrementalDecoder(self)

    def token_bytes(self, token: int) -> bytes:
        """The bytes a token stands for; none for an id that has no entry.

        Raises:
            ValueError: the id is below 0.
        """
        return self._word(token) or b""

    def text(self, token: int) -> str | None:
        """A token's own characters, None for a part of one and for an id that has no entry."""
        word = self._word(token)
        try:
            return None if word is None else word.decode()
        except UnicodeDecodeError:
            return None

    def drawn(self, token: int) -> str:
        """A token's own text for a picture: only what can't be seen is marked, as in piece.

        Spaces and line ends stay what they are, and a literal · is a ·.
        """
        text = self.text(token)
        return self.piece(token) if text is None else drawn(text)

    def piece(self, token: int) -> str:
        """A token as it can be shown: spaces, controls, bidi marks and half characters visible.

        An id that has no entry, as the rows have that pad an embedding, is shown by number.
        """
        word = self._word(token)
        return f"⟨{token}⟩" if word is None else visible(word)

    def _word(self, token: int) -> bytes | None:
        if token < 0:
            raise ValueError(f"token {token} is below 0")
        return self.words[token] if token < self.vocab_size else None


def load_tokenizer(directory: str | Path, *, rows: int) -> Tokenizer:
    """The vocabulary for a model: it may have fewer entries than the model has rows, never more.

    Args:
        directory: holds the vocabulary.
        rows: of the model's token embedding, vocab_size in its configuration.

    Raises:
        FileNotFoundError, ValueError: as Tokenizer; or it is the vocabulary of another model.
    """
    tokenizer = Tokenizer(directory)
    if tokenizer.vocab_size > rows:
        first = next(token for token in range(rows, tokenizer.vocab_size) if tokenizer._word(token))
        raise ValueError(
            f"{directory} has a vocabulary of {tokenizer.vocab_size:,} tokens for a model with "
            f"embeddings of {rows:,}: {tokenizer.text(first)!r}, id {first}, is none of its; use "
            "the files that this model was trained with"
        )
    return tokenizer


def _occurrences(added: Iterable[AddedToken]) -> re.Pattern[str]:
    """A pattern of all places where added tokens stand, the longest first."""
    ordered = sorted(added, key=lambda token: -len(token.text))
    return re.compile(
        "|".join(
            rf"(?<!\w){re.escape(token.text)}(?!\w)" if token.single_word else re.escape(token.text)
            for token in ordered
        )
        or r"(?!)"
    )


# --- text -------------------------------------------------------------------------------------


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
