"""Links of states that the page can be in, by chance, for the tests of its links."""

import base64
import json
import random
import re
import zlib
from dataclasses import asdict

from gpt2.engine import Engine, Request, Sampling
from gpt2.ui.link import DIGITS, Link, Made, check_digits, proof
from gpt2.ui.presets import VIEWS
from gpt2.ui.record import SETTINGS

LETTERS = "abc XYZ 0123'\"\\\n\t\x01${}`<>&é漢字🙂\u202e\u0300"
HERE = Made("1a2b3c4d", "float32", "cpu", "0.1.0")


def write_link(link: Link) -> str:
    """The part of an address from # on; as static/address.js writes it."""
    request, data = link.request, {"a": list(asdict(link.made).values())}
    data |= {"m": request.model, "p": request.prompt}
    if link.tab == "generate":
        settings = [getattr(request.sampling, name) for name in SETTINGS]
        data |= {"s": [request.max_new_tokens, *settings], "x": request.stop}
        data |= {"c": [number for pair in link.chosen for number in pair]}
    return pack_link(link.tab, {**data, "l": dict(link.look)}, link.proof)


def pack_link(tab: str, data: object, tokens: str = "") -> str:
    """A link of any data, whether it is one that this page can read or not."""
    words = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    words = re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", words)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(words.encode("utf-8")) + packer.flush()
    digits = base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")
    body = f"v=1.{tab}.{digits}.{tokens}"
    return f"#{body}.{check_digits(body)}"


def any_text(rng: random.Random, most: int = 60) -> str:
    return "".join(rng.choice(LETTERS) for _ in range(rng.randrange(most)))


def any_link(rng: random.Random, engine: Engine, tab: str = "") -> Link:
    """A link that the page may write."""
    tab = tab or rng.choice(list(VIEWS))
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


def mutant(rng: random.Random, link: str) -> str:
    """A link after an accident; of some the checksum is right all the same."""
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
    body = link.removeprefix("#").rpartition(".")[0]
    if way == 5:
        place = rng.randrange(len(body))
        body = body[:place] + rng.choice(DIGITS + ".") + body[place + 1 :]
    else:
        parts = body.split(".")
        raw = bytearray(base64.urlsafe_b64decode(parts[2] + "=" * (-len(parts[2]) % 4)))
        for _ in range(rng.randrange(1, 4)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        parts[2] = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        body = ".".join(parts)
    return f"#{body}.{check_digits(body)}"


def wild_value(rng: random.Random, depth: int = 0) -> object:
    if depth < 3 and rng.random() < 0.3:
        return [wild_value(rng, depth + 1) for _ in range(rng.randrange(8))]
    if depth < 3 and rng.random() < 0.2:
        names = ("view", "token", "parts", "__proto__", "", "width", "é")
        return {rng.choice(names): wild_value(rng, depth + 1) for _ in range(3)}
    numbers = [0, -1, 1, 1.5, 1e308, -0.0, 10**25, 10**4000, 2**63, float("nan"), float("inf")]
    words = ["", "x", "\ud800", "x" * 5000, "next", "mini", "\x00"]
    return rng.choice([None, True, False, *numbers, *words])


def wild(rng: random.Random, link: str) -> str:
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
