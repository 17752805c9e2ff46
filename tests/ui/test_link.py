"""Links: what is written is read again, and what was changed is refused in one sentence."""

import base64
import json
import random
import zlib
from dataclasses import replace

import pytest

from gpt2.engine import Request, Sampling
from gpt2.ui.generate.tab import _linked as wanted_of
from gpt2.ui.link import (
    CUT,
    DIGITS,
    MOST_BYTES,
    Link,
    Made,
    check_digits,
    made_with,
    pack_link,
    proof,
    read_link,
    verdict,
    write_link,
)
from gpt2.ui.presets import VIEWS

LETTERS = "abc XYZ 0123'\"\\\n\t\x01${}`<>&é漢字🙂\u202e\u0300"
HERE = Made("1a2b3c4d", "float32", "cpu", "0.1.0")


def any_text(rng, most=60):
    return "".join(rng.choice(LETTERS) for _ in range(rng.randrange(most)))


def any_link(rng, engine):
    """A state that the page can be in."""
    tab = rng.choice(list(VIEWS))
    news = tab == "classify"
    model = rng.choice(engine.catalog.classifiers if news else engine.catalog.models)
    config = engine.catalog.config(model)
    view, token = rng.choice(VIEWS[tab]), rng.choice([None, rng.randrange(1, config.n_ctx)])
    look = {"view": view, "token": token, "parts": [], "layer": rng.randrange(config.n_layer)}
    look |= {"head": rng.randrange(-1, config.n_head), "kind": any_text(rng, 20), "on": True}
    if news:
        return Link(tab, Request(any_text(rng), model=model), (), look, HERE, "")
    for layer in range(rng.randrange(config.n_layer)):
        look["parts"].append(["head", layer, rng.randrange(config.n_head), rng.choice([0, 0.5, 2])])
    sampling = Sampling(
        repetition_penalty=rng.choice([1, 1.2, 1.35]),
        temperature=rng.choice([0, 0.7, 1.05, rng.random()]),
        top_k=rng.randrange(200),
        top_p=rng.choice([1, rng.random()]),
        min_p=rng.choice([0, 0.1]),
        seed=rng.randrange(2**31),
    )
    places = sorted(rng.sample(range(1, 60), rng.randrange(5)))
    chosen = tuple((place, rng.randrange(config.vocab_size)) for place in places)
    request = Request(any_text(rng), rng.randrange(1, 512), sampling, any_text(rng, 5), model)
    tokens = proof(rng.randrange(config.vocab_size) for _ in range(rng.randrange(60)))
    return Link(tab, request, chosen, look, HERE, tokens)


def refused(fragment, engine):
    """The sentence that refuses a link; empty if it can be read."""
    try:
        link = read_link(fragment, engine)
        if link.tab == "generate":
            wanted_of(engine, fragment)
        json.dumps({**link.look}, allow_nan=False).encode()
    except ValueError as error:
        assert type(error) is ValueError
        words = str(error)
        assert 20 < len(words) < 400
        assert "\n" not in words
        words.encode()
        return words
    return ""


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


def mutant(rng, link):
    """A link after an accident."""
    way, place = rng.randrange(7), rng.randrange(len(link))
    if way == 0:
        return link[:place]
    if way == 1:
        return link[:place] + rng.choice("A.-_=%#é\x00 ") + link[place + 1 :]
    if way == 2:
        return link[:place] + link[place + rng.randrange(1, 9) :]
    if way == 3:
        return link + link[place:]
    if way == 4:
        return link[:place] + chr(ord(link[place]) ^ 1 << rng.randrange(7)) + link[place + 1 :]
    body = link.removeprefix("#").rpartition(".")[0]  # with a checksum that is right
    if way == 5:
        place = rng.randrange(len(body))
        body = body[:place] + rng.choice(DIGITS + ".") + body[place + 1 :]
    else:
        parts = body.split(".")
        raw = bytearray(base64.urlsafe_b64decode(parts[3 - 1] + "=" * (-len(parts[2]) % 4)))
        for _ in range(rng.randrange(1, 4)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        parts[2] = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        body = ".".join(parts)
    return f"#{body}.{check_digits(body)}"


def wild_value(rng, depth=0):
    if depth < 3 and rng.random() < 0.3:
        return [wild_value(rng, depth + 1) for _ in range(rng.randrange(8))]
    if depth < 3 and rng.random() < 0.2:
        names = ("view", "token", "parts", "__proto__", "", "width", "é")
        return {rng.choice(names): wild_value(rng, depth + 1) for _ in range(3)}
    return rng.choice(
        [None, True, False, 0, -1, 1, 1.5, 1e308, -0.0, 10**25, 10**4000, 2**31, 2**63]
        + [float("nan"), float("inf"), "", "x", "\ud800", "x" * 5000, "next", "mini", "\x00"]
    )


def wild(rng, link):
    """A link of a right form that holds what no page would write."""
    _, tab, digits, tokens, _ = link.split(".")
    packed = base64.urlsafe_b64decode(digits + "=" * (-len(digits) % 4))
    data = json.loads(zlib.decompress(packed, -15))
    for _ in range(rng.randrange(1, 3)):
        name = rng.choice([*data, "z", "__proto__"])
        held = data.get(name)
        if isinstance(held, list) and held and rng.random() < 0.6:
            held[rng.randrange(len(held))] = wild_value(rng)
        elif isinstance(held, dict) and held and rng.random() < 0.8:
            held[rng.choice([*held, "new", "__proto__", "parts"])] = wild_value(rng)
        elif rng.random() < 0.3:
            data.pop(name, None)
        else:
            data[name] = wild_value(rng)
    return pack_link(rng.choice([tab, tab, tab, "inside", "", "classify"]), data, tokens)


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
    rng = random.Random(2)
    link = next(link for link in iter(lambda: any_link(rng, engine), None) if link.tab == "generate")
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
