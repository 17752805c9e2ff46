"""A text on its way to the page, line by line."""

import json

import pytest

from gpt2.engine import Request, Sampling
from gpt2.ui.generate.lines import refused_line, text_line, token_line
from gpt2.ui.generate.status import FINISHED, status
from gpt2.ui.link import DIGITS, proof

HOSTILE = ("<img src=x onerror=f()>", "</script>", "${f()}", 'a"b', "a\nb", "\u2028")


@pytest.fixture
def written(engine):
    request = Request("Hello\nworld", 6, Sampling(seed=3), model="tiny")
    begun = engine.writer.begin(request)
    return request, begun, list(engine.writer.write(request, begun))


def test_a_line_is_one_line_and_says_what_was_asked_for(engine, written):
    request, begun, updates = written
    spell = engine.catalog.speller(model="tiny")
    texts = [spell(token) for token in begun.prompt_ids]
    line = text_line(engine, begun, request, texts, chosen=[(4, 5)], moment=7)
    assert line.count("\n") == 1 == line.endswith("\n")
    kind, first = json.loads(line)
    assert kind == "text"
    assert first["ids"] == list(begun.prompt_ids)
    assert first["texts"] == ["Hello", "\n", "world"]
    assert first["settings"] == {
        "temperature": 0.8,
        "top_k": 50,
        "top_p": 1.0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "seed": 3,
        "max_new_tokens": 6,
        "stop": "",
    }
    assert first["chosen"] == [[4, 5]]
    assert (first["layers"], first["heads"], first["dtype"]) == (2, 2, "float32")
    for update in updates:
        line = token_line(update.step, spell(update.step.id))
        assert line.count("\n") == 1
        kind, token, text, prob, rank, entropy, levels = json.loads(line)
        assert (kind, token, rank) == ("token", update.step.id, update.step.rank)
        assert token == update.step.id
        assert isinstance(text, str)
        assert prob.endswith("%")
        assert float(entropy) == pytest.approx(update.step.entropy, abs=0.051)
        assert all(0 <= level < 16 for level in levels)


def test_a_character_of_several_tokens_is_one_in_the_text(engine):
    """Quotation marks stood there as \\xE2\\x80\\x9C, in the only copy of the text."""
    text = "He said “né 中” \N{GRINNING FACE}. La col·lecció ⏎"  # a literal · is no space
    ids = engine.catalog.encode(text, model="tiny")
    spell = engine.catalog.speller(model="tiny")
    parts = [spell(token) for token in ids]
    assert "".join(parts) == text
    assert "" in parts  # a token that ends amid a character has none of it
    assert len(parts) == len(ids)


@pytest.mark.parametrize("words", HOSTILE)
def test_no_text_breaks_out_of_its_line(words):
    line = refused_line(words, 1)
    assert len(line.splitlines() if "\u2028" not in words else line.split("\n")[:-1]) == 1
    assert json.loads(line) == ["refused", words, 1]


def test_a_proof_has_a_digit_a_token_that_holds_all_before_it():
    ids = [15496, 995, 11, 262, 995]
    whole = proof(ids)
    assert len(whole) == 5
    assert set(whole) <= set(DIGITS)
    assert proof(ids[:3]) == whole[:3]
    assert whole[1] != whole[4]  # the same token, after others
    changed = [proof([*ids[:2], other, *ids[3:]]) for other in range(500)]
    assert all(other[:2] == whole[:2] for other in changed)
    assert sum(other[2] == whole[2] for other in changed) < 25  # one in 64


def test_the_status_tells_seed_model_end_and_what_was_dropped(written):
    from dataclasses import replace

    request, begun, updates = written
    how = request.sampling
    said = status(begun, updates, how)
    assert said.startswith("6 tokens · ")
    assert said.endswith(" tokens/s · temperature 0.8 · top-k 50 · seed 3 · tiny · stopped: length")
    assert status(begun, updates[:1], how).startswith("1 token · ")
    assert "writing" in status(begun, updates[:2], how)
    assert "stopped: by you" in status(begun, updates[:2], how, ended="cancelled")
    guessed = [*updates[:1], replace(updates[1], guessed=(40, 31))]
    assert "31 of 40 guesses right" in status(begun, guessed, how)
    assert "guesses" not in status(begun, updates[:1], how)
    dropped = status(replace(begun, truncated=1234), updates, how)
    assert dropped.endswith("the first 1,234 tokens of the prompt were dropped")


def test_every_end_has_words():
    from gpt2.records.step import FINISH_REASONS

    assert set(FINISHED) == {*FINISH_REASONS, "link", ""}
    assert all("stopped: " in FINISHED[reason] for reason in FINISH_REASONS)
