"""Prose in, tokens out: text files for pretraining, cut into windows.

Files: text, perhaps packed with xz, its documents parted by lines that hold only <|endoftext|>.
"""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

from gpt2.text_files import text_lines
from gpt2.tokenizer import ENDOFTEXT, Tokenizer

U16 = 1 << 16  # tokens that 16 bits tell apart


def read_documents(path: str | Path) -> Iterator[str]:
    """The documents of a text file, as gpt2.text_files reads it; blanks around them stay.

    Raises:
        FileNotFoundError, ValueError: no such file; no text.
    """
    lines: list[str] = []
    for line in text_lines(path):
        if line.strip() != ENDOFTEXT:
            lines.append(line)
            continue
        yield "".join(lines)
        lines = []
    if lines:
        yield "".join(lines)


def read_tokens(path: str | Path, tokenizer: Tokenizer) -> np.ndarray:
    """A file's tokens, every document followed by the token that ends a text.

    A .u16 file (as `python -m gpt2.data` writes) is memory-mapped; text is tokenized, into uint16
    where the vocabulary lets it and uint32 else.

    Raises:
        FileNotFoundError, ValueError: no such file; no text, or tokens of another vocabulary.
    """
    path = Path(path)
    if path.suffix == ".u16":
        return _read_u16(path, tokenizer)
    end = tokenizer.end_id
    if end is None:
        raise ValueError(
            f"the vocabulary has no token that ends a text ({ENDOFTEXT} or an eos_token), which "
            "pretraining puts after each document; add one to it"
        )
    dtype = np.uint16 if tokenizer.vocab_size <= U16 else np.uint32
    parts: list[np.ndarray] = []
    texts = (text for document in read_documents(path) if (text := document.strip()))
    while batch := list(islice(texts, 512)):
        rows = tokenizer.encode_batch(batch, threads=os.cpu_count() or 1)
        parts.extend(np.array([*row, end], dtype=dtype) for row in rows)
    if not parts:
        raise ValueError(f"{path} holds no text")
    return np.concatenate(parts)


def _read_u16(path: Path, tokenizer: Tokenizer) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; make it with python -m gpt2.data")
    if path.stat().st_size % 2 or not path.stat().st_size:
        raise ValueError(f"{path} holds {path.stat().st_size} bytes; tokens take 2 each")
    tokens = np.memmap(path, dtype=np.uint16, mode="r")
    highest = int(tokens.max())
    if highest >= tokenizer.vocab_size:
        raise ValueError(
            f"{path} holds token {highest}; the vocabulary ends at {tokenizer.vocab_size - 1}, so "
            "the file was made with another; make it again with python -m gpt2.data --vocab"
        )
    return tokens


def write_u16(files: Sequence[str], out: str, *, vocab: str) -> Iterator[tuple[str, int]]:
    """Tokenize text files into one file of 16-bit tokens, whole or not at all.

    Yields:
        Each file's name and its number of tokens.

    Raises:
        FileNotFoundError, ValueError: as read_tokens, or the vocabulary is larger than 16 bits.
    """
    tokenizer = Tokenizer(vocab)
    if tokenizer.vocab_size > U16:
        raise ValueError(
            f"{vocab} has a vocabulary of {tokenizer.vocab_size:,} tokens; 16 bits hold {U16:,}; "
            "give the text itself to python -m gpt2.pretrain"
        )
    partial = Path(out).with_suffix(".partial")
    try:
        with open(partial, "wb") as file:
            for path in files:
                tokens = read_tokens(path, tokenizer)
                file.write(tokens.tobytes())
                yield path, len(tokens)
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)


def hold_out(
    tokens: np.ndarray, *, every: int, end_id: int | None, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """Set every n-th document aside, starting with the first: (rest, held out).

    Of a single document its end is set aside, as long a part of it.

    Args:
        end_id: the token that ends a document.
        least: tokens of that end at least.

    Raises:
        ValueError: nothing would be left.
    """
    ends = np.flatnonzero(tokens == end_id) + 1
    if not len(ends) or ends[-1] != len(tokens):
        ends = np.append(ends, len(tokens))  # a last document without its end
    if len(ends) == 1:
        cut = len(tokens) - max(len(tokens) // every, least)
        if cut < least:
            raise ValueError(
                f"one document of {len(tokens):,} tokens; holding out {len(tokens) - cut:,} of "
                "them leaves too few; give more text or a smaller --context"
            )
        return tokens[:cut], tokens[cut:]
    starts = np.concatenate([[0], ends[:-1]])
    spans = [tokens[start:end] for start, end in zip(starts, ends, strict=True)]
    kept = [span for i, span in enumerate(spans) if i % every]
    if not kept:
        raise ValueError(f"{len(spans)} documents; holding out every {every}th leaves none")
    return np.concatenate(kept), np.concatenate(spans[::every])


def windows(
    tokens: np.ndarray, *, context: int, batch_size: int, step: int, seed: int
) -> np.ndarray:
    """Batch number `step` of an endless shuffled reading: int64 [batch_size, context + 1].

    A function of its arguments alone, so that a run can stop and go on anywhere. Each epoch cuts
    the tokens into windows at a new offset and reads every window once.
    """
    per_epoch = (len(tokens) - 1) // context - 1
    if per_epoch < 1:
        raise ValueError(f"{len(tokens)} tokens; a window of {context} needs {2 * context + 1}")
    first = step * batch_size
    rows = []
    for number in range(first, first + batch_size):
        epoch, index = divmod(number, per_epoch)
        offset, order = _epoch_order(seed, epoch, per_epoch, context)
        start = offset + int(order[index]) * context
        rows.append(tokens[start : start + context + 1])
    return np.stack(rows).astype(np.int64)


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, count: int, context: int) -> tuple[int, np.ndarray]:
    """Offset and order of one epoch's windows."""
    rng = np.random.default_rng((seed, epoch))
    return int(rng.integers(context)), rng.permutation(count)
