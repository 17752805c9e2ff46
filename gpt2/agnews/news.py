"""AG News: its four classes and its CSV rows, cleaned the same way for training and measuring.

Source: Zhang et al. 2015, "Character-level Convolutional Networks for Text Classification",
section 4.
"""

import csv
import html
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from gpt2.text_files import text_lines

AGNEWS_LABELS = ("World", "Sports", "Business", "Sci/Tech")
_FIRST_CELL = re.compile(r'\s*"?(?:[1-4]|[Cc]lass [Ii]ndex)"?\s*([;\t])')
COLUMNS = ("class", "title", "description")

_ENTITY = re.compile(r"&?(?:#(\d{2,5})|\b(quot|amp|lt|gt|nbsp));")
_ESCAPE = re.compile(r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_TAG_NAMES = (
    "a abbr address b big blockquote body br center cite code dd div dl dt em embed font form "
    "h[1-6] head hr html i iframe img input li link map meta nobr object ol option p param "
    "pre q s script select small span strike strong style sub sup table tbody td th title tr "
    "tt u ul"
)
# A tag that HTML has, alone or with an attribute: not 5 < 6 and 7 > 3, not a<b and c>d.
_TAG = re.compile(
    rf"</?(?i:{'|'.join(_TAG_NAMES.split())})(?:\s[^<>]*=[^<>]*)?\s*/?>"
    r"|<!--.*?-->|<[A-Z]{1,5}(?:\.[A-Z]{1,2}|c\d)>"  # and Reuters' codes: <FDX.N>, <CLc1>
)
# A space that the corpus put before an apostrophe or an ampersand: Canada 's, U.S. 's, AT &T.
_DETACHED = re.compile(r"(?<=[\w.!?)]) (?='(?:s|t|re|ve|ll|d|m|S|T)\b)|(?<=\w) (?=&\w)")


# Class names that mean the same, as words without case: World News is World.
_FILLERS = {"news", "and"}
_SAME = {"sport": "sports", "sciencetechnology": "scitech", "sciencetech": "scitech"}
_SAME |= {"scitechnology": "scitech"}


def rows_of_classes(labels: Sequence[str], *, given: str | None = None) -> list[int]:
    """Which of a model's labels each class 1 to 4 of the file is: their numbers, from 0.

    Labels are names, in any order and among others. Case, blanks and punctuation don't count, nor
    do "news" and "and"; Sci/Tech may be spelt out (Science & Technology), Sports be Sport.

    Args:
        labels: of the model.
        given: the labels of classes 1 to 4 as somebody lists them, with commas; exact names.

    Raises:
        ValueError: a class has no label, or two.
    """
    if given is not None:
        names = [name.strip() for name in next(csv.reader([given], skipinitialspace=True), [])]
        found = [[i for i, label in enumerate(labels) if label == name] for name in names]
        if len(names) != len(AGNEWS_LABELS) or [1] * len(names) != [len(one) for one in found]:
            raise ValueError(
                f"--labels is {given}; it must name four labels of the model, those of "
                f"{', '.join(AGNEWS_LABELS)} in this order; it has {', '.join(labels)}"
            )
        if len(set(names)) != len(names):
            raise ValueError(f"--labels is {given}; it names a label twice")
    else:
        plain = [_plain_name(label) for label in labels]
        found = [
            [i for i, name in enumerate(plain) if name == _plain_name(wanted)]
            for wanted in AGNEWS_LABELS
        ]
        if any(len(one) != 1 for one in found):
            raise ValueError(
                f"the model's labels are {', '.join(labels)}; the file's classes are "
                f"{', '.join(AGNEWS_LABELS)}; if four of them mean these, list them in this order "
                "with --labels a,b,c,d"
            )
    return [one[0] for one in found]


def _plain_name(label: str) -> str:
    words = [word for word in re.findall(r"[^\W_]+", label.casefold()) if word not in _FILLERS]
    name = "".join(words)
    return _SAME.get(name, name)


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
    """Undo the corpus's broken escapes where its rows are read; what people type is left alone.

    `Canada #39;s` is "Canada's", `quot;` a quotation mark, `&lt;A HREF=…&gt;` a tag to drop, and a
    backslash stands where a line ended. What only looks like it stays: an address's &copy=2, which
    no semicolon ends, and "price<cost ... goals>fouls", which no tag is called.
    """
    text = _ESCAPE.sub(lambda match: html.unescape(match[0]), text)
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
    """The rows of a CSV with their numbers, from 1; empty lines are no rows.

    Spreadsheets of many countries write ; between cells, and tabs in what they call Unicode text.
    """
    wanted = "AG News is train.csv and test.csv with rows class,title,description in one directory"
    lines = text_lines(path, wanted=wanted)
    first = next((line for line in lines if line.strip()), "")
    found = _FIRST_CELL.match(first)
    number = 0
    try:
        with _cells_of_any_length():
            rows = csv.reader(
                chain([first], lines), strict=True, delimiter=found[1] if found else ","
            )
            for row in rows:
                if row:
                    number += 1
                    yield number, row
    except csv.Error as error:
        # Strict: otherwise a quote left open swallows the rows after it without a word.
        raise ValueError(
            f"{path} row {number + 1} is no CSV ({error}); is a quotation mark left open?"
        ) from error


@contextmanager
def _cells_of_any_length() -> Iterator[None]:
    """The csv module's limit for all of the process, lifted for a while."""
    kept = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(kept)


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
