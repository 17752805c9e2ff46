"""Text in, arrays out: prose for pretraining and AG News for the classifier.

`python -m gpt2.data FILE... --out tokens.u16` tokenizes prose once, for `python -m gpt2.pretrain`.
Prose: UTF-8 text, optionally .xz, each document ending with a line that holds only <|endoftext|>.
AG News: Zhang et al. 2015, "Character-level Convolutional Networks for Text Classification",
section 4. Imports: numpy, pandas (inside the function that reads CSVs).
"""

import argparse
import html
import lzma
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from gpt2.tokenizer import ENDOFTEXT, ENDOFTEXT_ID, Tokenizer

AGNEWS_LABELS = ("World", "Sports", "Business", "Sci/Tech")

_ENTITY = re.compile(r"&?#(\d{2,5});|\b(quot|amp|lt|gt|nbsp);")
_DETACHED = re.compile(r"(?<=\w) (?='(?:s|t|re|ve|ll|d|m|S|T)\b|&\w)")  # Canada 's, AT &T
_TAG = re.compile(r"<[^<>]*>")


# --- AG News ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class News:
    """Labelled texts: texts[i] is of class labels[i], 0 to 3 in the order of AGNEWS_LABELS."""

    texts: tuple[str, ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int] | np.ndarray) -> "News":
        """These rows, in this order."""
        return News(tuple(self.texts[int(row)] for row in rows), self.labels[np.asarray(rows)])


def clean_news(text: str) -> str:
    """Undo the corpus's broken escapes; used for training, measuring and the page alike.

    `Canada #39;s` is "Canada's", `quot;` a quotation mark, `&lt;A HREF=…&gt;` a tag to drop, and a
    backslash stands where a line ended.
    """
    text = html.unescape(text)
    text = _ENTITY.sub(_entity, text)
    text = _TAG.sub(" ", text).replace("\\", " ")
    return _DETACHED.sub("", " ".join(text.split()))


def _entity(match: re.Match[str]) -> str:
    number, name = match.groups()
    if name:
        return html.unescape(f"&{name};")
    return html.unescape(f"&#{number};")


def read_agnews(path: str | Path) -> News:
    """Read `class,title,description` rows, with or without Kaggle's header row.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a row that can't be used, named by its number.
    """
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; AG News is train.csv and test.csv with rows "
            "class,title,description in one directory"
        )
    try:
        frame = pd.read_csv(
            path, header=None, dtype=str, keep_default_na=False, encoding="utf-8", engine="c"
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no UTF-8 CSV of 3 columns: {str(error).strip()}") from error
    if frame.shape[1] != 3:
        raise ValueError(
            f"{path} has {frame.shape[1]} columns; it needs 3: class, title, description"
        )
    has_header = frame.iloc[0, 0].strip().lower() == "class index"
    first_row = 2 if has_header else 1
    rows = frame.iloc[1:] if has_header else frame
    if rows.empty:
        raise ValueError(f"{path} has no rows")
    numbers = rows[0].str.strip()
    wrong = ~numbers.isin(["1", "2", "3", "4"])
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{path} row {row + first_row}: class {numbers.iloc[row]!r}; it must be 1, 2, 3 or 4"
        )
    texts = tuple(clean_news(text) for text in rows[1] + " " + rows[2])
    empty = [row for row, text in enumerate(texts) if not text]
    if empty:
        raise ValueError(f"{path} row {empty[0] + first_row}: title and description are empty")
    return News(texts, numbers.astype(int).to_numpy() - 1)


def split_news(news: News, *, held_out: int, seed: int) -> tuple[News, News]:
    """Two parts, the second of `held_out` random rows."""
    if not 0 < held_out < len(news):
        raise ValueError(f"cannot hold out {held_out} of {len(news)} rows")
    order = np.random.default_rng(seed).permutation(len(news))
    return news.take(order[held_out:]), news.take(order[:held_out])


def bucketed_batches(
    lengths: np.ndarray, *, batch_size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """One epoch of row indices in batches of similar length, in random order.

    Sorting only within stretches of 64 batches keeps the order random while little is padded.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(lengths))
    stretch = 64 * batch_size
    batches: list[np.ndarray] = []
    for start in range(0, len(order), stretch):
        part = order[start : start + stretch]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def pad_right(rows: Sequence[Sequence[int]], *, pad: int = ENDOFTEXT_ID) -> np.ndarray:
    """Token rows of different lengths as one int64 array [B, longest]."""
    padded = np.full((len(rows), max(len(row) for row in rows)), pad, dtype=np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded


# --- prose -----------------------------------------------------------------------------------


def read_documents(path: str | Path) -> Iterator[str]:
    """The documents of a text file, .xz or plain.

    Raises:
        FileNotFoundError, ValueError: no such file; not UTF-8 or not xz.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; --data takes text files")
    opener = lzma.open if path.suffix == ".xz" else open
    lines: list[str] = []
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for line in file:
                if line.rstrip("\n") != ENDOFTEXT:
                    lines.append(line)
                    continue
                yield "".join(lines)
                lines = []
    except (UnicodeDecodeError, lzma.LZMAError, EOFError) as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    if lines:
        yield "".join(lines)


def read_tokens(path: str | Path, tokenizer: Tokenizer) -> np.ndarray:
    """A file's tokens as uint16, every document followed by <|endoftext|>.

    A .u16 file (as `python -m gpt2.data` writes) is memory-mapped; text is tokenized.
    """
    path = Path(path)
    if path.suffix == ".u16":
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; make it with python -m gpt2.data")
        if path.stat().st_size % 2 or not path.stat().st_size:
            raise ValueError(f"{path} holds {path.stat().st_size} bytes; tokens take 2 each")
        return np.memmap(path, dtype=np.uint16, mode="r")
    parts: list[np.ndarray] = []
    batch: list[str] = []

    def flush() -> None:
        rows = tokenizer.encode_batch(batch, threads=os.cpu_count() or 1)
        parts.extend(np.array([*row, ENDOFTEXT_ID], dtype=np.uint16) for row in rows)
        batch.clear()

    for document in read_documents(path):
        if document.strip():
            batch.append(document.strip())
        if len(batch) == 512:
            flush()
    flush()
    if not parts:
        raise ValueError(f"{path} holds no text")
    return np.concatenate(parts)


def hold_out(tokens: np.ndarray, *, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Set every n-th document aside, starting with the first: (rest, held out)."""
    ends = np.flatnonzero(tokens == ENDOFTEXT_ID) + 1
    if not len(ends) or ends[-1] != len(tokens):
        ends = np.append(ends, len(tokens))  # a last document without its end
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


def main(argv: list[str] | None = None) -> int:
    """Tokenize text files into one file of 16-bit tokens."""
    parser = argparse.ArgumentParser(prog="python -m gpt2.data", description=main.__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="text, plain or .xz")
    parser.add_argument("--out", required=True, metavar="FILE.u16")
    parser.add_argument(
        "--vocab", default="checkpoints/mini", metavar="DIR", help="holds vocab.json, merges.txt"
    )
    args = parser.parse_args(argv)
    partial = Path(args.out).with_suffix(".partial")
    try:
        tokenizer = Tokenizer(args.vocab)
        with open(partial, "wb") as out:
            for path in args.files:
                tokens = read_tokens(path, tokenizer)
                tokens.tofile(out)
                print(f"{path}: {len(tokens):,} tokens")
        os.replace(partial, args.out)
    except (OSError, ValueError) as error:
        partial.unlink(missing_ok=True)
        print(f"gpt2.data: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
