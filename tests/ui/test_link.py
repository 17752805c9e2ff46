"""Links: what is written is read again, and what was changed is refused in one sentence."""

import base64
import json
import random
import zlib
from dataclasses import replace

import pytest
from links import HERE, any_link, mutant, pack_link, wild, write_link

from gpt2.engine import Request, Sampling
from gpt2.ui.generate.tab import linked
from gpt2.ui.link import (
    CUT,
    MOST_BYTES,
    Link,
    check_digits,
    made_with,
    proof,
    read_link,
    verdict,
)


def refused(fragment, engine):
    """The sentence that refuses a link; empty if it can be read."""
    words = ""
    try:
        link = read_link(fragment, engine)
        if link.tab == "generate":
            linked(engine, fragment)
        json.dumps(link.look, allow_nan=False).encode()  # the page can be sent it
    except ValueError as error:
        words = str(error)
        if type(error) is not ValueError or not 20 < len(words) < 400 or "\n" in words:
            raise
        words.encode()
    return words


def test_two_hundred_states_are_read_as_they_were_written(engine):
    rng = random.Random(0)
    for _ in range(200):
        link = any_link(rng, engine)
        assert read_link(write_link(link), engine) == link


def test_a_link_is_short(engine):
    request = Request("The president said on Tuesday that", 60, Sampling(seed=7), model="tiny")
    look = {"view": "attention", "token": 12, "parts": [], "layer": 5, "head": 2, "show": "one"}
    link = Link("generate", request, (), look, HERE, proof(range(60)))
    assert len(write_link(link)) < 400


# --- what was changed ------------------------------------------------------------------------


def test_two_thousand_mutants_are_refused_in_one_sentence_or_are_states(engine):
    rng = random.Random(1)
    links = [write_link(any_link(rng, engine)) for _ in range(50)]
    found = [refused(mutant(rng, rng.choice(links)), engine) for _ in range(1_000)]
    found += [refused(wild(rng, rng.choice(links)), engine) for _ in range(1_000)]
    assert sum(map(bool, found)) > 1_500
    assert len(set(found)) > 20


@pytest.mark.parametrize(
    "fragment",
    [
        *(None, 1, [], {}, "", "#", "#v=", "#v=1", "#v=1.generate", "#x", "v=1." * 999, "#v=1.é.."),
        pack_link("generate", "x" * MOST_BYTES * 40),  # ten megabytes in fifteen thousand letters
        pack_link("generate", [])[:-1],
        *(pack_link("generate", data) for data in (None, 1, [], "x", {}, {"m": "tiny"})),
    ],
)
def test_what_is_no_link_is_refused_in_one_sentence(engine, fragment):
    assert refused(fragment, engine)


def test_deep_nesting_is_refused(engine):
    deep = "[" * 100_000 + "]" * 100_000
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(deep.encode()) + packer.flush()
    body = f"v=1.generate.{base64.urlsafe_b64encode(packed).decode().rstrip('=')}."
    assert refused(f"#{body}.{check_digits(body)}", engine) == CUT


def test_a_refusal_names_what_is_wrong_and_the_way_out(engine):
    link = any_link(random.Random(2), engine, "generate")
    whole = write_link(link)
    assert refused(whole[:-3], engine) == CUT
    assert "another version" in refused(whole.replace("v=1", "v=2"), engine)
    other = replace(link, request=replace(link.request, model="gone"))
    assert "'gone', which is not here; there are: tiny" in refused(write_link(other), engine)
    assert "view that is not here" in refused(
        write_link(replace(link, look={**link.look, "view": "decided"})), engine
    )
    assert "tab that is not here" in refused(write_link(replace(link, tab="inside")), engine)
    many = replace(link, request=replace(link.request, max_new_tokens=100_000))
    assert "max_new_tokens is 100000" in refused(write_link(many), engine)
    often = replace(link, chosen=tuple((2 * place, 1) for place in range(1, 26)))
    assert "chosen in 25 places; a text may have 24" in refused(write_link(often), engine)
    row = replace(link, chosen=tuple((place, 1) for place in range(1, 200)))
    assert not refused(write_link(row), engine)
    assert "too long for an address" in refused("#v=1.generate.long.AAAAAA", engine)
    broken = replace(link, request=replace(link.request, prompt="a\ud800"))
    assert "lone surrogate" in refused(write_link(broken), engine)


# --- the proof -------------------------------------------------------------------------------


def test_the_proof_finds_the_first_token_that_differs(engine):
    ids = [random.Random(3).randrange(50_000) for _ in range(60)]
    link = Link("generate", Request("x"), (), {}, HERE, proof(ids))
    assert verdict(link, ids, HERE, first=5) == "the same 60 tokens as the author's"
    other = [*ids[:9], ids[9] + 1, *ids[10:]]
    there = replace(link, made=replace(HERE, dtype="bfloat16", device="cuda"))
    found = verdict(there, other, HERE, first=5)
    assert found == "differs from token 14 on: bfloat16 and cuda there, float32 and cpu here"
    assert verdict(link, other, HERE, first=5).endswith("this machine round differently")
    weights = replace(link, made=replace(HERE, weights="ffffffff"))
    assert "weights ffffffff there, weights 1a2b3c4d here" in verdict(weights, other, HERE, first=5)


def test_texts_of_other_lengths_are_compared_as_far_as_they_go():
    link = Link("generate", Request("x"), (), {}, HERE, proof(range(60)))
    assert verdict(link, range(20), HERE, first=1) == (
        "the same as the first 20 of the author's 60 tokens"
    )
    assert verdict(link, range(61), HERE, first=1) == (
        "the same 60 tokens as the author's, and 1 more"
    )
    assert "nothing to compare" in verdict(replace(link, proof=""), range(20), HERE, first=1)


def test_one_wrong_token_is_seen_nearly_always():
    """A digit holds six bits: a wrong one passes once in 64, and then the next ones tell."""
    rng, missed = random.Random(4), 0
    for _ in range(300):
        ids = [rng.randrange(50_257) for _ in range(20)]
        other = [*ids]
        other[3] = rng.randrange(50_257)
        place = next((n for n in range(20) if proof(ids)[n] != proof(other)[n]), None)
        assert other == ids or place is not None
        missed += place != 3
    assert missed < 20


def test_what_is_made_here_is_named(engine):
    made = made_with(engine, engine.catalog.models[0])
    assert (made.dtype, made.device, len(made.weights)) == ("float32", "cpu", 8)
