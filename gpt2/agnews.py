"""AG News: its CSV rows, cleaned the same way for training, for measuring and for the page.

Source: Zhang et al. 2015, "Character-level Convolutional Networks for Text Classification",
section 4. Imports: numpy.
"""

import csv
import html
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

AGNEWS_LABELS = ("World", "Sports", "Business", "Sci/Tech")
COLUMNS = ("class", "title", "description")

_ENTITY = re.compile(r"&?(?:#(\d{2,5})|\b(quot|amp|lt|gt|nbsp));")
_TAG = re.compile(r"</?[A-Za-z!][^<>]*>")  # and not 5 < 6 and 7 > 3
# A space that the corpus put before an apostrophe or an ampersand: Canada 's, U.S. 's, AT &T.
_DETACHED = re.compile(r"(?<=[\w.!?)]) (?='(?:s|t|re|ve|ll|d|m|S|T)\b)|(?<=\w) (?=&\w)")


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
    return html.unescape(f"&{name};" if name else f"&#{number};")


def read_agnews(path: str | Path) -> News:
    """Read `class,title,description` rows, with or without Kaggle's header row.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a row that can't be used, named by its number (the header counts).
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; AG News is train.csv and test.csv with rows "
            "class,title,description in one directory"
        )
    texts: list[str] = []
    labels: list[int] = []
    for number, row in _rows(path):
        if number == 1 and row[0].strip().lower() == "class index":
            continue
        label, text = _use(row, where=f"{path} row {number}")
        texts.append(text)
        labels.append(label)
    if not texts:
        raise ValueError(f"{path} has no rows; it needs {', '.join(COLUMNS)}")
    return News(tuple(texts), np.array(labels))


def _use(row: list[str], *, where: str) -> tuple[int, str]:
    """Label and cleaned text of a row."""
    if len(row) != len(COLUMNS):
        raise ValueError(
            f"{where} has {len(row)} column{'s' * (len(row) != 1)}; it needs 3: "
            f"{', '.join(COLUMNS)}"
        )
    label = row[0].strip()
    if label not in ("1", "2", "3", "4"):
        raise ValueError(f"{where}: class {label!r}; it must be 1, 2, 3 or 4")
    text = clean_news(f"{row[1]} {row[2]}")
    if not text:
        raise ValueError(f"{where}: title and description are empty; delete the row")
    return int(label) - 1, text


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV with their numbers, from 1; empty lines are no rows."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig")
        row = len(list(csv.reader(io.StringIO(before + "?", newline=""))))
        raise ValueError(
            f"{path} row {row} is not UTF-8 (byte {raw[error.start]:#04x}); save the file as UTF-8"
        ) from error
    number = 0
    try:
        for row in csv.reader(io.StringIO(text, newline=""), strict=True):
            if row:
                number += 1
                yield number, row
    except csv.Error as error:
        # Strict: otherwise a quote left open swallows the rows after it without a word.
        raise ValueError(
            f"{path} row {number + 1} is no CSV ({error}); is a quotation mark left open?"
        ) from error


def split_news(news: News, *, held_out: int, seed: int) -> tuple[News, News]:
    """Two parts, the second of `held_out` random rows."""
    if not 0 < held_out < len(news):
        raise ValueError(f"cannot hold out {held_out} of {len(news)} rows")
    order = np.random.default_rng(seed).permutation(len(news))
    return news.take(order[held_out:]), news.take(order[:held_out])


@dataclass(frozen=True)
class Split:
    """Rows to train on, rows of train.csv that choose the epoch, and rows to measure on.

    Without a test.csv the held-out rows are measured on too.
    """

    train: News
    held_out: News
    test: News
    has_test: bool


def read_split(directory: Path, *, limit: int, seed: int) -> Split:
    """Every twentieth row of train.csv held out at random, and test.csv if it is there.

    Args:
        directory: holds train.csv and, if there is one, test.csv.
        limit: use so many random rows of train.csv (the published file is no random order),
            0 for all.
        seed: of the choice and the split.

    Raises:
        FileNotFoundError, ValueError: as read_agnews; or too few rows, or rows of one class only.
    """
    if limit < 0:
        raise ValueError(f"limit is {limit}; it must be at least 1, or 0 for all rows")
    path, test = directory / "train.csv", directory / "test.csv"
    news = read_agnews(path)
    if 0 < limit < len(news):
        news = news.take(np.random.default_rng(seed).permutation(len(news))[:limit])
    if len(news) < 2:
        raise ValueError(f"{path}: 1 row can't be split; at least 2 are needed")
    train, held_out = split_news(news, held_out=max(1, len(news) // 20), seed=seed)
    if len(np.unique(train.labels)) < 2:
        label = int(train.labels[0])
        raise ValueError(
            f"{path}: the {len(train)} rows to train on are all of class {label + 1} "
            f"({AGNEWS_LABELS[label]}); training needs at least two classes"
        )
    has_test = test.is_file()
    return Split(train, held_out, read_agnews(test) if has_test else held_out, has_test)
