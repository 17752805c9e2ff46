"""gpt2.data: AG News as it should have been written, and prose in windows that miss nothing."""

import lzma

import numpy as np
import pytest

from gpt2 import data
from gpt2.data import (
    bucketed_batches,
    clean_news,
    hold_out,
    pad_right,
    read_agnews,
    read_documents,
    read_tokens,
    split_news,
    windows,
)
from gpt2.tokenizer import ENDOFTEXT_ID

# --- AG News ---------------------------------------------------------------------------------

ROWS = (
    '"3","Oil climbs","Prices rose, again."\n"1","Talks","said ""no"""\n4,Probe,Titan\n2,Cup,Win\n'
)
TEXTS = ("Oil climbs Prices rose, again.", 'Talks said "no"', "Probe Titan", "Cup Win")


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
        ("1,a\n2,b\n", ["2 columns", "needs 3"]),
        ("1,a,b,c\n", ["4 columns", "needs 3"]),
        ("1,a,b\n2,c,d\n3,e,f,g\n", ["line 3"]),
        ('1,a,b\n2,"open,d\n', ["EOF inside string"]),
        ("", ["no UTF-8 CSV"]),
        ("Class Index,Title,Description\n", ["no rows"]),
        (b"1,caf\xe9,b\n", ["UTF-8"]),
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


# --- batches ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "batch_size"), [(1, 4), (7, 3), (1000, 4), (999, 1), (5, 8)])
def test_an_epoch_of_batches_holds_every_row_once(count, batch_size):
    lengths = np.random.default_rng(0).integers(1, 99, count)
    batches = bucketed_batches(lengths, batch_size=batch_size, seed=3, epoch=2)
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))
    assert len(batches) == -(-count // batch_size)
    assert max(len(batch) for batch in batches) <= batch_size


def test_batches_are_a_function_of_seed_and_epoch():
    lengths = np.random.default_rng(0).integers(1, 99, 500)

    def order(seed, epoch):
        batches = bucketed_batches(lengths, batch_size=4, seed=seed, epoch=epoch)
        return np.concatenate(batches).tolist()

    assert order(3, 2) == order(3, 2)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_batches_of_similar_length_pad_little():
    lengths = np.random.default_rng(0).integers(1, 100, 2048)

    def padded(batches):
        return sum(len(batch) * int(lengths[batch].max()) for batch in batches)

    ours = padded(bucketed_batches(lengths, batch_size=16, seed=0, epoch=0))
    unsorted = padded(np.random.default_rng(1).permutation(2048).reshape(-1, 16))
    assert ours < 1.05 * lengths.sum() < 1.6 * lengths.sum() < unsorted


def test_short_batches_do_not_all_come_first():
    lengths = np.arange(640)
    means = [lengths[b].mean() for b in bucketed_batches(lengths, batch_size=10, seed=0, epoch=0)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5


def test_padding_stands_on_the_right():
    padded = pad_right([[1, 2, 3], [4], [5, 6]])
    assert padded.tolist() == [
        [1, 2, 3],
        [4, ENDOFTEXT_ID, ENDOFTEXT_ID],
        [5, 6, ENDOFTEXT_ID],
    ]
    assert padded.dtype == np.int64
    assert pad_right([[1], [2, 3]], pad=0).tolist() == [[1, 0], [2, 3]]


# --- prose -----------------------------------------------------------------------------------

DOCUMENTS = ["One line.", "Two\n\nlines, né 👍.", "A third"]
PROSE = "<|endoftext|>\n".join(f"{document}\n" for document in DOCUMENTS)


@pytest.fixture
def prose(tmp_path):
    path = tmp_path / "prose.txt"
    path.write_text(PROSE, encoding="utf-8")
    return path


def test_documents_end_at_a_line_that_holds_only_endoftext(prose):
    assert [text.strip() for text in read_documents(prose)] == DOCUMENTS
    prose.write_text("not <|endoftext|> here\n", encoding="utf-8")
    assert list(read_documents(prose)) == ["not <|endoftext|> here\n"]


def test_every_document_is_followed_by_endoftext(prose, tokenizer):
    expected = []
    for document in DOCUMENTS:
        expected += [*tokenizer.encode(document), ENDOFTEXT_ID]
    tokens = read_tokens(prose, tokenizer)
    assert tokens.dtype == np.uint16
    assert tokens.tolist() == expected


def test_more_documents_than_one_batch_of_the_tokenizer_are_all_read(tmp_path, tokenizer):
    path = tmp_path / "many.txt"
    path.write_text("".join(f"story {i}\n<|endoftext|>\n" for i in range(1300)), encoding="utf-8")
    tokens = read_tokens(path, tokenizer)
    assert int((tokens == ENDOFTEXT_ID).sum()) == 1300
    assert tokenizer.decode(tokens.tolist()).endswith("story 1299<|endoftext|>")


def test_text_xz_and_u16_files_give_the_same_tokens(prose, tmp_path, tokenizer, vocabulary):
    packed, tokenized = tmp_path / "prose.txt.xz", tmp_path / "prose.u16"
    packed.write_bytes(lzma.compress(prose.read_bytes()))
    command = [str(prose), "--out", str(tokenized), "--vocab", str(vocabulary)]
    assert data.main(command) == 0
    expected = read_tokens(prose, tokenizer)
    np.testing.assert_array_equal(read_tokens(packed, tokenizer), expected)
    np.testing.assert_array_equal(read_tokens(tokenized, tokenizer), expected)
    assert not list(tmp_path.glob("*.partial"))


def test_tokenizing_two_files_appends_the_second(prose, tmp_path, tokenizer, vocabulary, capsys):
    out = tmp_path / "twice.u16"
    command = [str(prose), str(prose), "--out", str(out), "--vocab", str(vocabulary)]
    assert data.main(command) == 0
    once = read_tokens(prose, tokenizer)
    np.testing.assert_array_equal(read_tokens(out, tokenizer), np.concatenate([once, once]))
    assert capsys.readouterr().out.count(f"{len(once)} tokens") == 2


def test_tokenizing_a_missing_file_fails_in_one_sentence_and_writes_nothing(
    tmp_path, vocabulary, capsys
):
    out = tmp_path / "out.u16"
    command = [str(tmp_path / "no.txt"), "--out", str(out), "--vocab", str(vocabulary)]
    assert data.main(command) == 1
    error = capsys.readouterr().err
    assert "no.txt does not exist" in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []  # not even a scratch file


@pytest.mark.parametrize(
    ("name", "content", "mention"),
    [
        ("a.txt", b"caf\xe9", "not UTF-8 text"),
        ("a.txt.xz", b"no xz at all", "not UTF-8 text"),
        ("a.txt.xz", lzma.compress(b"cut short" * 99)[:-20], "not UTF-8 text"),
        ("a.txt", b"", "holds no text"),
        ("a.txt", b" \n<|endoftext|>\n\n", "holds no text"),
        ("a.u16", b"", "0 bytes"),
        ("a.u16", b"\x01\x02\x03", "3 bytes"),
    ],
)
def test_a_file_without_usable_text_is_refused_by_name(tmp_path, tokenizer, name, content, mention):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_tokens(path, tokenizer)
    assert str(path) in str(error.value)
    assert mention in str(error.value)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.xz", "a.u16"])
def test_a_missing_file_is_named(tmp_path, tokenizer, name):
    with pytest.raises(FileNotFoundError, match=f"{name} does not exist"):
        read_tokens(tmp_path / name, tokenizer)


# --- holding out -----------------------------------------------------------------------------


def documents(*lengths):
    """Documents of the given lengths, <|endoftext|> included; the tokens of number i are i."""
    rows = [[i] * (length - 1) + [ENDOFTEXT_ID] for i, length in enumerate(lengths)]
    return np.array(sum(rows, []), dtype=np.uint16)


def test_every_nth_document_is_held_out_whole_starting_with_the_first():
    rest, held_out = hold_out(documents(2, 3, 4, 5, 2, 3, 4), every=3)
    assert set(held_out.tolist()) == {0, 3, 6, ENDOFTEXT_ID}
    assert set(rest.tolist()) == {1, 2, 4, 5, ENDOFTEXT_ID}
    assert len(held_out) == 2 + 5 + 4
    assert len(rest) == 3 + 4 + 2 + 3
    assert rest[-1] == held_out[-1] == ENDOFTEXT_ID


@pytest.mark.parametrize(("lengths", "every"), [((3,), 2), ((3, 4), 1)])
def test_holding_out_everything_is_refused(lengths, every):
    with pytest.raises(ValueError, match=f"{len(lengths)} documents; .*leaves none"):
        hold_out(documents(*lengths), every=every)


# --- windows ---------------------------------------------------------------------------------

TOKENS = np.arange(1000, 1205, dtype=np.uint16)  # each token tells where it stood


def read(steps, *, seed=5, batch_size=3, context=8):
    return [
        windows(TOKENS, context=context, batch_size=batch_size, step=step, seed=seed)
        for step in steps
    ]


def test_a_window_is_a_stretch_of_the_tokens_and_one_more():
    """Targets are the inputs shifted by one, so a window is one token longer than the context."""
    for batch in read(range(40)):
        assert batch.shape == (3, 9)
        assert batch.dtype == np.int64
        assert (np.diff(batch, axis=1) == 1).all()


@pytest.mark.parametrize("context", [1, 8, 50, 102])
def test_every_epoch_reads_each_of_its_windows_once(context):
    per_epoch = (len(TOKENS) - 1) // context - 1
    starts = np.concatenate(
        [b[:, 0] for b in read(range(3 * per_epoch), batch_size=1, context=context)]
    )
    offsets = []
    for epoch in starts.reshape(3, per_epoch):
        offsets.append(int(epoch.min()))
        expected = offsets[-1] + context * np.arange(per_epoch)
        assert sorted(epoch.tolist()) == expected.tolist()
    assert min(offsets) >= 1000
    assert max(offsets) < 1000 + context


def test_epochs_differ_in_offset_and_order():
    starts = np.concatenate([batch[:, 0] for batch in read(range(48), batch_size=1)])
    first, second = starts.reshape(2, 24)
    assert first.tolist() != second.tolist()
    assert first.min() != second.min()


def test_a_batch_is_a_function_of_its_number_and_the_seed():
    forwards = read(range(60))
    backwards = read(reversed(range(60)))[::-1]  # whatever was remembered of epochs is gone
    for one, other in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((a != b).any() for a, b in zip(forwards, read(range(60), seed=6), strict=True))


def test_batches_of_another_size_read_the_same_windows_in_the_same_order():
    """What makes --accumulate and a larger --batch-size the same run."""
    np.testing.assert_array_equal(
        np.concatenate(read(range(30), batch_size=2)), np.concatenate(read(range(15), batch_size=4))
    )


def test_tokens_for_less_than_one_window_are_refused():
    assert windows(TOKENS[:17], context=8, batch_size=2, step=0, seed=0).shape == (2, 9)
    with pytest.raises(ValueError, match="16 tokens; a window of 8 needs 17"):
        windows(TOKENS[:16], context=8, batch_size=2, step=0, seed=0)
