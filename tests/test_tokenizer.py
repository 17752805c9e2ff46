"""gpt2.tokenizer: GPT-2's own ids, text that comes back whole, and tokens that can be seen."""

import random
import socket
import unicodedata

import pytest

from gpt2.tokenizer import ENDOFTEXT_ID, Tokenizer
from gpt2.visible import visible

NASTY = [
    "",
    " ",
    "Hello, world!",
    "  two  spaces   three\tand\ta tab \n\n\n newlines \r\n\r\n and the end   ",
    " " * 77 + "x" + "\n" * 33 + "\t" * 9,
    "I'm you're he's we've I'll they'd can't IT'S DON'T 'tis ''quoted''",
    "'s't're've'm'll'd",
    "family 👩‍👩‍👧‍👦, flags 🇳🇴🇺🇦, skin 👍🏽, keycap 3️⃣, heart ❤️‍🔥",
    "日本語のテキスト、中文文本，한국어 문장。",
    "العربية: مرحباً بالعالم ١٢٣ — עברית שָׁלוֹם",
    "Zalgo: Z̸̢̛̈a̷͖͝l̶̰͑g̴̱̈́o and e\u0301 against \u00e9, ﬁ ligature, Å Å",
    "हिन्दी में क्षत्रिय, ไทยไม่มีช่องว่าง, Ελληνικά, Кириллица",
    "def f(x):\n    return {'a': [i**2 for i in x if i % 3 == 0]}  # ok\n\n\nif __name__:\n\tf(1)",
    "null \x00 bell \x07 escape \x1b[31m delete \x7f next line \x85 end",
    "marks \u200b\u200e\u202e\u2066abc\u2069 \ufeff bom \u00a0 nbsp \u3000 wide \u2028 line",
    "numbers 1234567890 3.14159 1e-5 ½ ² Ⅷ ٣ 1,000,000",
    "𝒜𝓁𝓅𝒽𝒶 𐍈 \U0010ffff \U000e0041 private \ue000",
    "<|endoftext|>begin<|endoftext|> <|endoftext| > <|endoftext",
    "https://example.org/?q=%20&x=[1]#top <b>&amp;</b> a@b.c $5.00 ~`^",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
]


def random_text(seed: int) -> str:
    """Forty characters from all over Unicode, surrogates excepted."""
    rng = random.Random(seed)
    tops = [0x7F, 0x2FF, 0xFFFF, 0x10FFFF]
    codes = [rng.randint(0, rng.choice(tops)) for _ in range(40)]
    return "".join(chr(code) for code in codes if not 0xD800 <= code <= 0xDFFF)


def ascii_begin(text: str) -> str:
    """Two characters to call a long text by."""
    return ascii(text[:2])


CORPUS = NASTY + [random_text(seed) for seed in range(300)]


# --- ids -------------------------------------------------------------------------------------


def test_ids_equal_transformers_gpt2_tokenizer(tokenizer, vocabulary):
    from transformers import GPT2Tokenizer

    theirs = GPT2Tokenizer(
        vocab=str(vocabulary / "vocab.json"), merges=str(vocabulary / "merges.txt")
    )
    for text in CORPUS:
        expected = theirs(text)["input_ids"]
        assert tokenizer.encode(text) == expected, ascii(text)
        assert tokenizer.decode(expected) == text, ascii(text)


def test_ids_are_those_of_openais_encoder(tokenizer):
    """Known ids, so that no shared mistake of two libraries passes."""
    assert tokenizer.encode("Hello, world!") == [15496, 11, 995, 0]
    assert tokenizer.encode("<|endoftext|>") == [ENDOFTEXT_ID] == [50256]
    assert tokenizer.encode(" SolidGoldMagikarp") == [43453]
    assert tokenizer.encode("\n\n") == [628]
    assert tokenizer.vocab_size == 50257


def test_decoding_gives_back_the_text(tokenizer):
    for text in CORPUS:
        assert tokenizer.decode(tokenizer.encode(text)) == text, ascii(text)


def test_a_batch_gives_the_ids_of_each_text_alone(tokenizer):
    assert tokenizer.encode_batch(NASTY) == [tokenizer.encode(text) for text in NASTY]


def test_bytes_that_are_no_text_decode_to_replacement_characters(tokenizer):
    emoji = tokenizer.encode("👍")
    assert len(emoji) > 1
    assert tokenizer.decode(emoji[:1]) == "\ufffd"


LONG = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        " " * LONG,
        " " * LONG + "end",
        "begin\n" + "\n" * LONG + "end",
        "\u3000" * LONG + " end",
        " \n" * (LONG // 2) + "!",
        "word" + "\t" * LONG,
        "1" * LONG,
        "-" * LONG,
    ],
    ids=ascii_begin,
)
def test_a_million_of_one_character_are_read(tokenizer, text):
    """A pasted or damaged file with a long run of blanks ended in an error of the split pattern."""
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_where_a_long_run_is_cut_changes_no_token(tokenizer, vocabulary):
    from transformers import GPT2Tokenizer

    theirs = GPT2Tokenizer.from_pretrained(vocabulary)
    runs = [" " * 10_001, "\n" * 12_000, " \n\t" * 5_000, "\u2003" * 11_000]
    for text in (f"a{run}{end}" for run in runs for end in ("b", "\nb", " b", "", "!", " \x1cb")):
        assert tokenizer.encode(text) == theirs(text)["input_ids"], ascii(text[-5:])


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "position", "code"), [("ab\ud83dcd", 3, "D83D"), ("\udc00", 1, "DC00")]
)
def test_half_of_a_surrogate_pair_is_refused_with_its_position(tokenizer, text, position, code):
    with pytest.raises(ValueError, match=f"character {position} .*lone surrogate.*U\\+{code}"):
        tokenizer.encode(text)


@pytest.mark.parametrize("text", [None, 3, b"bytes", ["list"]])
def test_what_is_no_string_is_refused(tokenizer, text):
    with pytest.raises(ValueError, match="must be a string"):
        tokenizer.encode(text)


def test_an_id_below_zero_is_refused(tokenizer):
    with pytest.raises(ValueError, match="token -1 is below 0"):
        tokenizer.token_bytes(-1)


def test_building_and_using_a_tokenizer_needs_no_network(monkeypatch, vocabulary, tmp_path):
    def refuse(*args, **kwargs):
        raise AssertionError("something opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))  # so that no cache hides a download
    assert Tokenizer(vocabulary).encode("Hello") == [15496]


# --- pieces ----------------------------------------------------------------------------------


def test_every_token_of_the_vocabulary_has_a_piece_that_can_be_seen(tokenizer):
    for token in range(tokenizer.vocab_size):
        piece = tokenizer.piece(token)
        assert piece, token
        for character in piece:
            assert not character.isspace(), (token, ascii(piece))
            assert unicodedata.category(character)[0] not in "CZ", (token, ascii(piece))


@pytest.mark.parametrize("text", CORPUS[1:])
def test_a_piece_of_any_text_holds_nothing_invisible(text):
    """Bidirectional marks are of category Cf, so a piece can't turn the page around."""
    for character in visible(text.encode()):
        assert unicodedata.category(character)[0] not in "CZ", ascii(character)


@pytest.mark.parametrize(
    ("raw", "piece"),
    [
        (b" the", "·the"),
        (b"\n\n", "⏎⏎"),
        (b"\t", "⇥"),
        (b"\r\n", "␍⏎"),
        (b"\x00\x7f", "\\x00\\x7F"),
        ("é".encode(), "é"),
        ("👍".encode()[:2], "\\xF0\\x9F"),
        ("\u202e".encode(), "U+202E"),
        ("\u00a0".encode(), "U+00A0"),
        ("\u200d".encode(), "U+200D"),
        ("\u0301".encode(), "◌\u0301"),
        ("l·l".encode(), "lU+00B7l"),
        ("⏎◌⇥".encode(), "U+23CEU+25CCU+21E5"),
        (b"\\xE2", "\\x5CxE2"),
        (b"C:\\temp", "C:\\temp"),
        (b"U+202E", "\\x55+202E"),
    ],
)
def test_pieces_show_what_they_stand_for(raw, piece):
    assert visible(raw) == piece


def test_no_two_byte_strings_look_alike():
    """A mark on the page stands for one thing: a literal middle dot is not shown as a space."""
    texts = [*CORPUS, *(mark * 2 for mark in "·⏎⇥␍◌⟨⟩"), "\\x00", "U+00B7", "\\x5Cx00", "\\\\x00"]
    raws = {text.encode() for text in texts} | {bytes([i]) for i in range(256)}
    raws |= {mark.encode()[:2] for mark in "·⏎⇥␍◌"}
    assert len({visible(raw) for raw in raws}) == len(raws)


def test_a_token_has_its_own_characters_and_half_a_character_has_none(tokenizer):
    assert tokenizer.text(tokenizer.encode(" Vienna")[0]) == " Vienna"
    assert tokenizer.text(tokenizer.encode("·")[0]) == "·"
    assert tokenizer.text(tokenizer.encode("\n")[0]) == "\n"
    assert tokenizer.text(tokenizer.encode("👍")[0]) is None


def test_a_row_without_an_entry_is_shown_by_its_number(tokenizer):
    assert tokenizer.piece(50300) == "⟨50300⟩"
    assert tokenizer.text(50300) is None
    assert tokenizer.decode([15496, 50300]) == "Hello"


# --- text that arrives a token at a time -----------------------------------------------------


def test_a_stream_of_any_ids_ends_up_as_the_text_of_all(tokenizer):
    rng = random.Random(11)
    half_characters = [i for i in range(256) if tokenizer.token_bytes(i)[0] >= 0x80]
    for _ in range(300):
        ids = rng.choices(range(tokenizer.vocab_size), k=20) + rng.choices(half_characters, k=20)
        rng.shuffle(ids)
        decoder = tokenizer.decoder()
        streamed = "".join(decoder.feed(token) for token in ids) + decoder.flush()
        assert streamed == tokenizer.decode(ids), ids


def test_no_replacement_character_flickers_in_a_stream_of_valid_text(tokenizer):
    for text in CORPUS:
        decoder = tokenizer.decoder()
        shown = ""
        for token in tokenizer.encode(text):
            shown += decoder.feed(token)
            assert text.startswith(shown), ascii(text)
        assert decoder.flush() == "", ascii(text)
        assert shown == text, ascii(text)


def test_a_character_that_was_never_finished_shows_at_the_end(tokenizer):
    decoder = tokenizer.decoder()
    assert decoder.feed(tokenizer.encode("👍")[0]) == ""
    assert decoder.flush() == "\ufffd"


def test_two_decoders_do_not_share_their_half_characters(tokenizer):
    first, second = tokenizer.decoder(), tokenizer.decoder()
    first.feed(tokenizer.encode("👍")[0])
    assert second.feed(tokenizer.encode("a")[0]) == "a"
    assert second.flush() == ""
