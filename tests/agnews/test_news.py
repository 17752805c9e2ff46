"""gpt2.agnews.news: AG News as it should have been written, and errors that name the row."""

import csv as csv_module

import numpy as np
import pytest

from gpt2.agnews.news import clean_news, read_agnews, read_split, rows_of_classes, split_news

ROWS = (
    '"3","Oil climbs","Prices rose, again."\n"1","Talks","said ""no"""\n4,Probe,Titan\n2,Cup,Win\n'
)
TEXTS = ("Oil climbs Prices rose, again.", 'Talks said "no"', "Probe Titan", "Cup Win")


@pytest.mark.parametrize(
    "text",
    [
        "example.com/?x=3&region=eu&copy=2&lt=5",
        "costs<gain this year, if gains>losses",
        "List<String> and a<b and c>d",
        "(&sect, &unknown;)",
        "#1; 5",
    ],
)
def test_what_only_looks_like_an_escape_stays(text):
    """An address lost its &copy=, a comparison all between its signs."""
    assert clean_news(text) == text


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("Canada #39;s", "Canada's"),
        ("We don #39;t know", "We don't know"),
        ("they #39;ve, I #39;m, he #39;ll", "they've, I'm, he'll"),
        ("it&#039;s", "it's"),
        ("AT amp;T", "AT&T"),
        ("S amp;P 500", "S&P 500"),
        ("fish amp; chips &amp; peas", "fish & chips & peas"),
        ("quot;Yes, quot; he said", '"Yes, " he said'),
        ("#36;5 and &#36;6", "$5 and $6"),
        ("a&nbsp;b nbsp;c", "a b c"),
        ('&lt;A HREF="http://x"&gt;y&lt;/A&gt;', "y"),
        ("lt;b gt;bold lt;/b gt;", "bold"),
        ("Kerry&amp;#39;s", "Kerry's"),
        ("a &amp;lt; b", "a < b"),  # was "a &< b"
        ("U.S. #39;s oil, Corp. #39;s", "U.S.'s oil, Corp.'s"),  # kept the space
        ("5 &lt; 6 and 7 &gt; 3", "5 < 6 and 7 > 3"),  # lost what stood between
        ("one\\two\\\\three\\", "one two three"),
        (" a \t b\n c ", "a b c"),
        ("", ""),
    ],
)
def test_broken_escapes_are_mended(broken, mended):
    assert clean_news(broken) == mended


@pytest.mark.parametrize(
    "text",
    [
        "rock 'n' roll in the '90s",
        "Don't, we'll, it's: AT&T & Q&A",
        "3 < 4, and the rest",
        "5 < 6 and 7 > 3",
        "He said. 'Tis true",
        "Ligne « française » — 日本語 👍",
        "quotation, ample, altar #1",
    ],
)
def test_ordinary_prose_is_left_alone(text):
    assert clean_news(text) == text


@pytest.mark.parametrize("number", [0, 34, 39, 151, 1234, 55555])
def test_a_numbered_escape_never_gives_half_a_character(tokenizer, number):
    tokenizer.encode(clean_news(f"a #{number:02};b &#{number:02};c"))


@pytest.fixture
def csv(tmp_path):
    """csv(content): a file of that text or those bytes."""

    def write(content):
        path = tmp_path / "train.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("header", ["", "Class Index,Title,Description\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_rows_are_read_with_and_without_kaggles_header(csv, header, mark, newline):
    news = read_agnews(csv((mark + header + ROWS).replace("\n", newline)))
    assert news.texts == TEXTS
    assert news.labels.tolist() == [2, 0, 3, 1]
    assert np.issubdtype(news.labels.dtype, np.integer)
    assert len(news) == 4


def test_escapes_are_mended_while_reading(csv):
    assert read_agnews(csv("1,Canada #39;s oil,AT amp;T\\up\n")).texts == ("Canada's oil AT&T up",)


def test_words_that_look_like_missing_values_are_text(csv):
    assert read_agnews(csv("1,NA,null\n2,nan,None\n")).texts == ("NA null", "nan None")


@pytest.mark.parametrize(
    ("content", "mentions"),
    [
        ("1,a,b\n5,c,d\n", ["row 2", "'5'"]),
        ("1,a,b\n2,c,d\n0,e,f\n", ["row 3", "'0'"]),
        ("Class Index,Title,Description\n1,a,b\nx,c,d\n", ["row 3", "'x'"]),
        ("Title,Class,Description\na,1,b\n", ["row 1", "'Title'"]),
        ('1,"a\nb",c\n,d,e\n', ["row 2", "''"]),
        ("1,a,b\n2,,\n", ["row 2", "empty"]),
        ('Class Index,Title,Description\n1,a,b\n2," ",\\\n', ["row 3", "empty"]),
        ("1,a\n2,b\n", ["row 1", "2 columns", "needs 3"]),
        ("1,a,b,c\n", ["row 1", "4 columns", "needs 3"]),
        ("1\n", ["row 1", "1 column;"]),
        ("1,a,b\n2,c,d\n3,e,f,g\n", ["row 3", "4 columns"]),
        ("Class Index,Title,Description\n1,a,b\n2,c\n", ["row 3", "2 columns"]),
        ('1,a,b\n2,"open,d\n3,e,f\n', ["row 2", "quotation mark left open"]),
        ('1,a,b\n2,"c"d,e\n', ["row 2", "quotation mark"]),
        ("", ["no rows"]),
        ("Class Index,Title,Description\n", ["no rows"]),
        (b"1,caf\xe9,b\n", ["line 1", "UTF-8", "0xe9"]),
        (b'1,"a\nb",c\n2,d,e\n3,caf\xe9,b\n', ["line 4", "UTF-8"]),
        ("1,a,b\n".encode("utf-16-le"), ["line 1", "zero byte", "UTF-8"]),
    ],
)
def test_a_csv_that_can_not_be_used_is_refused_in_one_sentence(csv, content, mentions):
    path = csv(content)
    with pytest.raises(ValueError) as error:
        read_agnews(path)
    text = str(error.value)
    assert "\n" not in text
    for mention in [str(path), *mentions]:
        assert mention in text, text


def test_a_missing_csv_says_what_is_needed(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"class,title,description"):
        read_agnews(tmp_path / "train.csv")


@pytest.fixture
def news(csv):
    return read_agnews(csv("".join(f"{i % 4 + 1},title {i},text\n" for i in range(20))))


def test_a_split_parts_the_rows_and_keeps_their_labels(news):
    rest, held_out = split_news(news, held_out=6, seed=1)
    assert (len(rest), len(held_out)) == (14, 6)
    assert sorted(rest.texts + held_out.texts) == sorted(news.texts)
    for part in (rest, held_out):
        for text, label in zip(part.texts, part.labels, strict=True):
            assert int(text.split()[1]) % 4 == label


def test_a_split_is_a_function_of_the_seed(news):
    first, again, other = (split_news(news, held_out=6, seed=s)[1].texts for s in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("held_out", [0, -1, 20, 21])
def test_a_split_that_leaves_one_part_empty_is_refused(news, held_out):
    with pytest.raises(ValueError, match=f"hold out {held_out} of 20"):
        split_news(news, held_out=held_out, seed=0)


# --- what is trained on, what chooses, what measures -----------------------------------------


@pytest.fixture
def directory(tmp_path):
    """directory(rows, test=""): a data directory of these CSVs."""

    def make(rows, test=""):
        (tmp_path / "train.csv").write_text(rows)
        if test:
            (tmp_path / "test.csv").write_text(test)
        return tmp_path

    return make


MANY = "".join(f"{i % 4 + 1},title {i},text\n" for i in range(60))


def test_a_twentieth_of_the_rows_is_held_out_and_none_of_the_test_rows(directory):
    split = read_split(directory(MANY, "1,other,text\n"), limit=0, seed=0)
    assert (len(split.train), len(split.held_out), len(split.test)) == (57, 3, 1)
    assert split.has_test
    assert split.test.texts == ("other text",)


def test_without_a_test_file_the_held_out_rows_measure(directory):
    split = read_split(directory(MANY), limit=0, seed=0)
    assert not split.has_test
    assert split.test is split.held_out


def test_a_limit_takes_random_rows(directory):
    """The published train.csv begins with a stretch of one class."""
    rows = "".join(f"{1 + (i > 500)},title {i},text\n" for i in range(1000))
    split, again, other = (read_split(directory(rows), limit=100, seed=seed) for seed in (0, 0, 1))
    assert (len(split.train), len(split.held_out)) == (95, 5)
    assert 30 < split.train.labels.sum() < 65
    assert split.train.texts == again.train.texts != other.train.texts
    assert not {*split.train.texts} & {*split.held_out.texts}


@pytest.mark.parametrize(
    ("rows", "limit", "mention"),
    [
        (
            "".join(f"3,title {i},text\n" for i in range(9)),
            0,
            "8 rows to train on are all of class 3 (Business)",
        ),
        (MANY, -1, "limit is -1"),
        (MANY, 1, "1 row"),
    ],
)
def test_rows_that_can_not_teach_are_refused(directory, rows, limit, mention):
    with pytest.raises(ValueError) as error:
        read_split(directory(rows), limit=limit, seed=0)
    assert mention in str(error.value)


def test_a_broken_test_file_is_refused_with_its_row(directory):
    with pytest.raises(ValueError, match=r"test\.csv row 1: class '9'"):
        read_split(directory(MANY, "9,a,b\n"), limit=0, seed=0)


# --- labels are names -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("World", "Sports", "Business", "Sci/Tech"), [0, 1, 2, 3]),
        (("sci_tech", "BUSINESS", "sport", "world news"), [3, 2, 1, 0]),
        (("Business", "Entertainment", "Science & Technology", "World", "Sports"), [3, 4, 0, 2]),
        (("SciTech", "Sports News", "Business", "World"), [3, 1, 2, 0]),
    ],
)
def test_classes_are_found_by_name_in_any_order(labels, expected):
    """A classifier with the same classes in another order scored 0."""
    assert rows_of_classes(labels) == expected


@pytest.mark.parametrize(
    "labels",
    [
        ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"),
        ("joy", "anger", "fear", "sadness"),
        ("World", "Sports", "Business", "Science", "Technology"),
        ("World", "Sports", "Business", "Sci/Tech", "sci tech"),
        ("World", "Sports"),
    ],
)
def test_other_labels_are_refused_with_both_lists(labels):
    with pytest.raises(ValueError, match="World, Sports, Business, Sci/Tech") as error:
        rows_of_classes(labels)
    assert ", ".join(labels) in str(error.value)
    assert "--labels a,b,c,d" in str(error.value)


def test_labels_can_be_listed_by_hand():
    labels = ("c, d", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4")
    assert rows_of_classes(labels, given='LABEL_4, LABEL_1,"c, d",LABEL_3') == [4, 1, 0, 3]
    for given in ("LABEL_1,LABEL_2,LABEL_3", "LABEL_1,LABEL_2,LABEL_3,LABEL_9", "", "a,b,c,d"):
        with pytest.raises(ValueError, match="must name four labels of the model"):
            rows_of_classes(labels, given=given)
    with pytest.raises(ValueError, match="twice"):
        rows_of_classes(labels, given="LABEL_1,LABEL_1,LABEL_3,LABEL_4")


# --- files that spreadsheets write ------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("header", ["", "Class Index,Title,Description\n"])
def test_a_spreadsheets_own_delimiter_and_encoding_are_read(csv, delimiter, encoding, header):
    text = (header + '2,"Tie; no, lose","é\nb"\n"4",c,d\n').replace(",", delimiter)
    text = text.replace(f"; no{delimiter}", "; no,")  # within quotes
    news = read_agnews(csv(text.encode(encoding)))
    assert news.texts == ("Tie; no, lose é b", "c d")
    assert news.labels.tolist() == [1, 3]


def test_a_cell_may_be_of_any_length(csv):
    """Python's csv stops at 131,072 characters; its limit is the whole process's."""
    limit = csv_module.field_size_limit()
    news = read_agnews(csv('1,a,"' + "goal " * 40_000 + '"\n'))
    assert len(news.texts[0]) == 200_001
    assert csv_module.field_size_limit() == limit
