"""GPT-2's byte-level BPE: text to token ids and back, and a visible form for every token.

Any byte-level BPE is read, from a model directory's own files and never from the network. GPT-2's
own merges are done by tiktoken; those of other vocabularies pair by pair, as they are listed, since
tiktoken knows tokens only and would join pairs that no merge names. Source: Radford et al. 2019,
section 2.2; Sennrich et al. 2016, section 3.2; OpenAI's encoder.py.
"""

import codecs
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import regex
import tiktoken

from gpt2.checks import check_text
from gpt2.visible import drawn, visible
from gpt2.vocabulary import (
    BYTES,
    ENDOFTEXT,
    AddedToken,
    Vocabulary,
    find_vocabulary,
    read_vocabulary,
)

__all__ = ["ENDOFTEXT", "ENDOFTEXT_ID", "IncrementalDecoder", "Tokenizer", "load_tokenizer"]

ENDOFTEXT_ID = 50256  # in GPT-2's own vocabulary

# sha256 of GPT-2's 50,000 merges, a line each.
_GPT2_MERGES = "04e3597d7996f292ca9b8b7285ca4d58a6ae171ac47d73fc7140ceb0c7a6bbc0"

# How GPT-2 cuts text into words before merging, as in OpenAI's encoder.py. Of blanks before a word
# the last goes with it, or stands alone. The possessive ++ keep no way back, of which a run of a
# million letters would need a million.
_SPLIT = r"'(?:[sdmt]|re|ve|ll)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
# Blanks before a word do need ways back. Cutting a long run before its last one changes no word.
_BLANKS = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # \s of the split
_LONG_RUN = re.compile(rf"[{_BLANKS}]{{10000,}}")


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
        self._merger = _Tiktoken(vocabulary) if _is_gpt2(vocabulary) else _Pairs(vocabulary)

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


# --- merging ----------------------------------------------------------------------------------


def _is_gpt2(vocabulary: Vocabulary) -> bool:
    merges = "\n".join(" ".join(pair) for pair in vocabulary.merges)
    known = hashlib.sha256(merges.encode()).hexdigest() == _GPT2_MERGES
    return known and BYTES.keys() <= vocabulary.ids.keys()


class _Tiktoken:
    """GPT-2's own merges, under the ids of any file."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        entries = [*BYTES, *(left + right for left, right in vocabulary.merges)]
        ranks = {bytes(map(BYTES.__getitem__, entry)): i for i, entry in enumerate(entries)}
        self._ids = [vocabulary.ids[entry] for entry in entries]
        self._bpe = tiktoken.Encoding(
            name="gpt2", pat_str=_SPLIT, mergeable_ranks=ranks, special_tokens={}
        )

    def encode(self, text: str) -> list[int]:
        ids = self._ids
        if len(text) < 10_000:
            return [ids[rank] for rank in self._bpe.encode_ordinary(text)]
        return [ids[rank] for part in _stretches(text) for rank in self._bpe.encode_ordinary(part)]


def _stretches(text: str) -> Iterator[str]:
    start = 0
    for run in _LONG_RUN.finditer(text):
        if run.end() < len(text):
            yield text[start : run.end() - 1]
            start = run.end() - 1
    yield text[start:]


class _Pairs:
    """The merges of any vocabulary: of all neighbours the pair that is listed first is joined."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        ids = vocabulary.ids
        self._split = regex.compile(_SPLIT)
        self._bytes = {byte: ids.get(symbol) for symbol, byte in BYTES.items()}
        self._whole = {}
        if vocabulary.whole_words:
            self._whole = {bytes(BYTES[symbol] for symbol in entry): i for entry, i in ids.items()}
        self._unknown = vocabulary.unknown_id
        self._pairs: dict[tuple[int, int], tuple[int, int]] = {}  # ids -> rank, id of both
        for rank, (left, right) in enumerate(vocabulary.merges):
            self._pairs.setdefault((ids[left], ids[right]), (rank, ids[left + right]))
        self._short = lru_cache(maxsize=1 << 16)(self._merge)

    def encode(self, text: str) -> list[int]:
        found: list[int] = []
        for word in self._split.findall(text):
            found += self._short(word) if len(word) < 64 else self._merge(word)
        return found

    def _merge(self, word: str) -> list[int]:
        raw = word.encode()
        if raw in self._whole:
            return [self._whole[raw]]
        ids = [self._byte(byte, word) for byte in raw]
        # A queue of neighbours by rank and place; a link list skips what has been joined.
        end, pairs = len(ids), self._pairs
        after, before = list(range(1, end + 1)), list(range(-1, end - 1))
        queue = [(pairs[two][0], i) for i, two in enumerate(pairwise(ids)) if two in pairs]
        heapify(queue)
        while queue:
            rank, left = heappop(queue)
            right = after[left]
            if right == end or pairs.get((ids[left], ids[right]), (-1,))[0] != rank:
                continue  # one of them was joined to another since
            ids[left], ids[right] = pairs[ids[left], ids[right]][1], -1
            after[left] = after[right]
            if after[left] < end:
                before[after[left]] = left
            for i, j in ((before[left], left), (left, after[left])):
                if i >= 0 and j < end and (ids[i], ids[j]) in pairs:
                    heappush(queue, (pairs[ids[i], ids[j]][0], i))
        return [token for token in ids if token >= 0]

    def _byte(self, byte: int, word: str) -> int:
        token = self._bytes[byte]
        token = self._unknown if token is None else token
        if token is None:
            raise ValueError(
                f"the vocabulary of this model has no token for byte 0x{byte:02X} of {word!r}"
            )
        return token


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
