"""The API as an assistant's tools: what it is told of them, and what they answer."""

import asyncio
import json

import pytest

from gpt2.ui.api.tools import Tools
from gpt2.ui.page import places_of
from gpt2.ui.server.visitors import Line

CALLS = {
    "generate": {"prompt": "It rains", "max_new_tokens": 5},
    "branch": {"prompt": "It rains", "max_new_tokens": 5},  # and what generate gave
    "score": {"text": "It rains"},
    "attention": {"text": "It rains", "layer": 1, "head": -1},
    "classify": {"text": "It rains"},
    "models": {},
    "lens": {"text": "It rains"},
    "ablate": {"text": "It rains", "heads": [[0, 0, 0]]},
    "attribute": {"text": "It rains", "method": "occlusion"},
}


@pytest.fixture(scope="module")
def tools(engine):
    return made(engine)


def made(engine):
    return Tools(engine, {name: Line(kind) for name, kind in places_of(engine.limits).items()})


def called(tools, name, given):
    return asyncio.run(tools.call(name, given, address="192.0.2.1"))


def arguments(tools, name):
    """Of a call; to branch, those that generate's details give."""
    if name != "branch":
        return CALLS[name]
    written = called(tools, "generate", {**CALLS["generate"], "details": True})
    ids = [*written["prompt_ids"], *(token["id"] for token in written["tokens"])]
    return {**CALLS["branch"], "ids": ids, "position": len(ids) - 2, "token": 262}


def test_every_tool_and_argument_is_described_and_what_may_be_left_out_has_a_default(tools):
    """A seed of 0 and an empty stop text had none, and a description ended in mid-sentence."""
    assert set(tools.by_name) == set(CALLS)
    for name, tool in tools.by_name.items():
        assert tool.description.endswith(".")
        assert "Answers " in tool.description
        schema = tool.schema()
        for told in schema["properties"].values():
            assert told["type"]
            assert len(told["description"]) > 5
        needed = {part for part, told in schema["properties"].items() if "default" not in told}
        assert set(schema["required"]) == needed
        assert needed <= set(arguments(tools, name))
    generate = tools.by_name["generate"].schema()["properties"]
    assert (generate["seed"]["default"], generate["stop"]["default"]) == (0, "")


@pytest.mark.parametrize("name", CALLS)
def test_a_tool_answers_json_shortly_and_with_details_the_tokens_too(tools, name):
    given = arguments(tools, name)
    short = json.dumps(called(tools, name, given), allow_nan=False)
    assert len(short) < 1000
    if "details" in tools.by_name[name].schema()["properties"]:
        details = called(tools, name, {**given, "details": True})
        assert set(details) >= set(json.loads(short))
        assert len(json.dumps(details, allow_nan=False)) > len(short)


def test_a_completion_is_short_and_its_details_under_a_tenth_of_the_apis(tools):
    given = {"prompt": "It rains", "max_new_tokens": 50}
    assert len(json.dumps(called(tools, "generate", given))) < 1000
    details = called(tools, "generate", {**given, "details": True})
    assert [set(token) for token in details["tokens"]] == [{"piece", "id", "prob", "rank"}] * 50
    assert len(json.dumps(details)) < 5000


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("nothing", {}, "there is no tool 'nothing'; there are: generate, branch"),
        ("score", {}, "needs text, a str"),
        ("score", {"text": 3}, "text must be a string"),
        ("score", {"text": "a", "txt": "b"}, "no argument 'txt'"),
        ("score", {"text": "a", "details": "yes"}, "details must be true or false"),
        ("generate", {"prompt": "a", "seed": "x"}, "seed must be a whole number"),
        ("generate", {"prompt": "a", "max_new_tokens": 10**9}, "from 1 to 512"),
        ("attention", {"text": "a", "layer": 7}, "layer must be"),
    ],
)
def test_what_can_not_be_is_refused_in_words(tools, name, given, said):
    with pytest.raises(ValueError, match=said):
        called(tools, name, given)


def test_one_assistant_does_not_take_all_places_and_is_told_so(engine):
    """Its calls came past the queue, or all from the server's own address."""
    tools, share = made(engine), places_of(engine.limits)["calls"].share

    async def many():
        mine = [
            tools.call("score", {"text": f"It rains {n}"}, address="192.0.2.1")
            for n in range(share + 8)
        ]
        other = tools.call("score", {"text": "It rains"}, address="192.0.2.2")
        return await asyncio.gather(*mine, other, return_exceptions=True)

    *answers, other = asyncio.run(many())
    refused = [str(answer) for answer in answers if isinstance(answer, ValueError)]
    assert len(refused) == 8
    assert "calls of your address" in refused[0]
    assert other["perplexity"] > 1
    assert tools.running == 0
