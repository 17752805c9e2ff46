"""gpt2.data: prose in windows that miss nothing."""

import functools
import json
import lzma
import operator

import numpy as np
import pytest

from gpt2 import data
from gpt2.data import read_tokens
from gpt2.tokenizer import ENDOFTEXT_ID, Tokenizer
from gpt2.training.corpus import hold_out, read_documents, windows

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
        ("a.txt", b"a\n\ncaf\xe9", "line 3 is not UTF-8 (byte 0xe9)"),
        ("a.txt.xz", b"no xz at all", "damaged .xz"),
        ("a.txt.xz", lzma.compress(b"cut short" * 99)[:-20], "damaged .xz"),
        ("a.txt", b"", "holds no text"),
        ("a.txt", b" \n<|endoftext|>\n\n", "holds no text"),
        ("a.txt", "one\ntwo".encode("utf-16-le"), "line 1 holds a zero byte"),
        ("a.txt", b"\xff\xfea\x00b", "not UTF-16"),
        ("a.txt", b"fine\nPK\x00\x01", "line 2 holds a zero byte"),
        ("a.u16", b"\x00\x00\x51\xc4", "holds token 50257; the vocabulary ends at 50256"),
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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("pack", [bytes, lzma.compress])
def test_a_text_is_the_same_whatever_wrote_it(prose, tokenizer, encoding, newline, pack):
    """A byte order mark was a token, and the documents of a Mac's old file ran together."""
    expected = read_tokens(prose, tokenizer).tolist()
    prose.write_bytes(pack(PROSE.replace("\n", newline).encode(encoding)))
    assert read_tokens(prose, tokenizer).tolist() == expected


def test_a_large_vocabulary_is_not_cut_to_16_bits(prose, tmp_path, vocabulary, capsys):
    """Token 70,000 became 4,464 without a word."""
    (words := json.loads((vocabulary / "vocab.json").read_text()))["One"] = 70_000
    (tmp_path / "vocab.json").write_text(json.dumps(words))
    (tmp_path / "merges.txt").write_text((vocabulary / "merges.txt").read_text())
    large = Tokenizer(tmp_path)
    assert read_tokens(prose, large)[0] == 70_000
    command = [str(prose), "--out", str(tmp_path / "a.u16"), "--vocab", str(tmp_path)]
    assert data.main(command) == 1
    assert "16 bits hold 65,536" in capsys.readouterr().err
    assert not (tmp_path / "a.u16").exists()


# --- holding out -----------------------------------------------------------------------------


RULE = {"end_id": ENDOFTEXT_ID, "least": 1}


def documents(*lengths):
    """Documents of the given lengths, <|endoftext|> included; the tokens of number i are i."""
    rows = [[i] * (length - 1) + [ENDOFTEXT_ID] for i, length in enumerate(lengths)]
    return np.array(functools.reduce(operator.iadd, rows, []), dtype=np.uint16)


def test_every_nth_document_is_held_out_whole_starting_with_the_first():
    rest, held_out = hold_out(documents(2, 3, 4, 5, 2, 3, 4), every=3, **RULE)
    assert set(held_out.tolist()) == {0, 3, 6, ENDOFTEXT_ID}
    assert set(rest.tolist()) == {1, 2, 4, 5, ENDOFTEXT_ID}
    assert len(held_out) == 2 + 5 + 4
    assert len(rest) == 3 + 4 + 2 + 3
    assert rest[-1] == held_out[-1] == ENDOFTEXT_ID


def test_holding_out_everything_is_refused():
    with pytest.raises(ValueError, match=r"2 documents; .*leaves none"):
        hold_out(documents(3, 4), every=1, **RULE)


def test_of_a_single_document_the_end_is_held_out():
    """One plain text file, as most people have, could not be trained on."""
    tokens = documents(100)
    for every, least, size in ((10, 5, 10), (50, 5, 5), (10, 50, 50)):
        rest, held_out = hold_out(tokens, every=every, end_id=ENDOFTEXT_ID, least=least)
        np.testing.assert_array_equal(np.concatenate([rest, held_out]), tokens)
        assert len(held_out) == size
    with pytest.raises(ValueError, match="one document of 100 tokens"):
        hold_out(tokens, every=10, end_id=ENDOFTEXT_ID, least=51)


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
