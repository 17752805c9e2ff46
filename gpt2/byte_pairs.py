"""Byte-pair merging: a text cut into words, and each into the tokens that its merges make.

GPT-2's own merges are done by tiktoken; those of other vocabularies pair by pair, as they are
listed, since tiktoken knows tokens only and would join pairs that no merge names. Source: Sennrich
et al. 2016, section 3.2; OpenAI's encoder.py.
"""

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import pairwise

import regex
import tiktoken

from gpt2.vocabulary import BYTES, Vocabulary

# sha256 of GPT-2's 50,000 merges, a line each.
_GPT2_MERGES = "04e3597d7996f292ca9b8b7285ca4d58a6ae171ac47d73fc7140ceb0c7a6bbc0"

# How GPT-2 cuts text into words before merging, as in OpenAI's encoder.py. Of blanks before a word
# the last goes with it, or stands alone. The possessive ++ keep no way back, of which a run of a
# million letters would need a million.
_SPLIT = r"'(?:[sdmt]|re|ve|ll)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
# Blanks before a word do need ways back. Cutting a long run before its last one changes no word.
_BLANKS = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # \s of the split
_LONG_RUN = re.compile(rf"[{_BLANKS}]{{10000,}}")


def merger_of(vocabulary: Vocabulary) -> "Tiktoken | Pairs":
    """What turns a text without added tokens into ids: encode(text)."""
    return Tiktoken(vocabulary) if _is_gpt2(vocabulary) else Pairs(vocabulary)


def _is_gpt2(vocabulary: Vocabulary) -> bool:
    merges = "\n".join(" ".join(pair) for pair in vocabulary.merges)
    known = hashlib.sha256(merges.encode()).hexdigest() == _GPT2_MERGES
    return known and BYTES.keys() <= vocabulary.ids.keys()


class Tiktoken:
    """GPT-2's own merges, under the ids of any file."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        entries = [*BYTES, *(left + right for left, right in vocabulary.merges)]
        ranks = {bytes(map(BYTES.__getitem__, entry)): i for i, entry in enumerate(entries)}
        self._ids = [vocabulary.ids[entry] for entry in entries]
        self._bpe = tiktoken.Encoding(
            name="gpt2", pat_str=_SPLIT, mergeable_ranks=ranks, special_tokens={}
        )

    def encode(self, text: str) -> list[int]:
        """Ids of a text."""
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


class Pairs:
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
        """Ids of a text.

        Raises:
            ValueError: a byte of it has no token.
        """
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
