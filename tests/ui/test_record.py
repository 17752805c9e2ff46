"""What the page sends of itself is checked like any input."""

import json
import math
import random
import re

import pytest

from gpt2.engine import Request, Sampling
from gpt2.ui.record import NARROWEST, WIDEST, key_of, moment_of, read_asked, read_choices, read_text

SETTINGS = {
    "temperature": 0.7,
    "top_k": 40,
    "top_p": 1,
    "min_p": 0,
    "repetition_penalty": 1.2,
    "seed": 3,
    "max_new_tokens": 8,
    "stop": "",
}


def text(**changes):
    """A text of the tiny model, as the page sends it."""
    whole = {
        "model": "tiny",
        "prompt": "Hello world",
        "settings": SETTINGS,
        "chosen": [[2, 5]],
        "ids": [15496, 995, 5, 7],
        "prompt_length": 2,
    }
    return {**whole, **changes}


def asked(**changes):
    look = {"view": "next", "token": 3, "layer": 1, "width": 700}
    return {"key": "[1]", "tab": "generate", "text": text(), "look": look, "moment": 9, **changes}


def test_what_the_page_sends_is_read(engine):
    found = read_asked(asked(), engine)
    assert (found.key, found.model, found.selected, found.width) == ("[1]", "tiny", 3, 700)
    assert found.ids == (15496, 995, 5, 7)
    assert found.text.prompt_length == 2
    assert found.text.chosen == ((2, 5),)
    assert found.sampling == Sampling(1.2, 0.7, 40, 1, 0, 3)
    assert found.text.request == Request("Hello world", 8, found.sampling, "", "tiny")
    assert found.number("layer", 0, 1) == 1
    assert moment_of(asked()) == 9


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "gone"}, "'gone', which is not here any more; there are: tiny, "),
        ({"model": 5}, "model is no text"),
        ({"prompt": None}, "prompt is no text"),
        ({"ids": []}, "reads 1 to 65 tokens below"),
        ({"ids": [1] * 66}, "reads 1 to 65 tokens below"),
        ({"ids": [-1, 2]}, "reads 1 to 65 tokens below"),
        ({"ids": [60_000]}, "reads 1 to 65 tokens below"),
        ({"ids": [1, True]}, "ids must be a list of whole numbers"),
        ({"ids": "12"}, "ids must be a list of whole numbers"),
        ({"prompt_length": 0}, "prompt_length is 0; it must be 1 to 4"),
        ({"prompt_length": 5}, "prompt_length is 5; it must be 1 to 4"),
        ({"prompt_length": True}, "prompt_length is True"),
        ({"chosen": [[3, 1], [2, 1]]}, "in order"),
        ({"chosen": [[3]]}, "pairs of place and token"),
        ({"chosen": {"3": 1}}, "no list"),
        ({"settings": {**SETTINGS, "temperature": "hot"}}, "temperature is 'hot'"),
        ({"settings": {**SETTINGS, "temperature": math.nan}}, "temperature is nan"),
        ({"settings": {**SETTINGS, "seed": -1}}, "seed is -1"),
        ({"settings": {**SETTINGS, "max_new_tokens": 1.5}}, "max_new_tokens is 1.5"),
        ({"settings": {**SETTINGS, "stop": 3}}, "stop is no text"),
    ],
)
def test_a_text_that_is_none_is_told_in_a_sentence(engine, changes, words):
    with pytest.raises(ValueError, match=re.escape(words)) as told:
        read_text(text(**changes), engine)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("raw", [None, 5, "x", [], {}, {"text": None}, {"text": [1]}])
def test_without_a_text_the_page_is_told_so(engine, raw):
    with pytest.raises(ValueError, match="there is no text yet"):
        read_asked(raw, engine)


@pytest.mark.parametrize("token", [None, -1, 4, 10**9, True, "3", 1.0])
def test_a_place_that_is_none_is_the_first_drawn_token(engine, token):
    assert read_asked(asked(look={"token": token}), engine).selected == 2


def test_controls_are_moved_into_their_range_or_left_as_they_begin(engine):
    look = {"layer": 99, "head": "2", "kind": "no such", "rival": "x" * 999, "width": 10**9}
    found = read_asked(asked(look=look), engine)
    assert found.number("layer", 0, 1) == 1
    assert found.number("head", 0, 3) == 0
    assert found.choice("kind", ("attention", "rollout")) == "attention"
    assert len(found.words("rival")) == 200
    assert found.words("layer") == ""
    assert found.width == WIDEST
    assert read_asked(asked(look={"width": 1}), engine).width == NARROWEST


def test_a_thousand_things_that_are_no_record_are_sentences(engine):
    """Whatever comes is read or refused in one sentence."""
    chance = random.Random(5)
    values = [None, True, -1, 0, 3, 2**70, 1.5, math.nan, math.inf, "", "x", "\ud800", [], [1], {}]
    values += [{"a": 1}, [[1, 2]], "tiny", [15496], 2]
    for _ in range(1000):
        raw = json.loads(json.dumps(asked()))
        for _ in range(chance.randint(1, 3)):
            part = chance.choice([raw, raw["text"], raw["look"]])
            if isinstance(part, dict):
                part[chance.choice(list(part) or ["x"])] = chance.choice(values)
            if not isinstance(raw["text"], dict) or not isinstance(raw["look"], dict):
                break
        key_of(raw), moment_of(raw)
        said = ""
        try:
            read_asked(raw, engine)
        except ValueError as error:
            said = str(error)
        assert len(said) < 300
        assert "\n" not in said


def test_choices_are_in_order():
    assert read_choices(None) == ()
    assert read_choices([[3, 7], [9, 1]]) == ((3, 7), (9, 1))
