"""The API over a real server: what each endpoint answers, bad input, and parallel requests."""

import functools
import json
import math
import operator
import time
from pathlib import Path

import httpx
import pytest

from gpt2.ui.server.guard import MAX_BODY

ROOT = Path(__file__).resolve().parents[2]
GENERATE_KEYS = {
    *("model", "prompt", "completion", "text", "finish_reason", "seed", "truncated"),
    *("prompt_ids", "start", "tokens"),
}
TOKEN_KEYS = {"id", "piece", "text", "prob", "sampled_prob", "logprob", "rank", "entropy", "top"}
FILE = {"path": "/etc/hosts", "meta": {"_type": "gradio.FileData"}}
ASKED = {"max_new_tokens": 12, "temperature": 3.0, "top_k": 0, "seed": 7}
PARAMETERS = {
    "generate": {
        "prompt": "Hello world",
        "max_new_tokens": 12,
        "temperature": 3.0,
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "seed": 7,
        "stop": "",
    },
    "score": {"text": "Hello world"},
    "attention": {"text": "Hello world", "layer": 0, "head": 0},
    "classify": {"text": "Oil prices climb"},
    "models": {},
    "lens": {"text": "Hello big world", "position": -1, "top": 5},
    "ablate": {"text": "Hello big world", "position": -1, "heads": [], "mlps": [], "layers": []},
    "attribute": {
        "text": "Hello big world",
        "position": -1,
        "method": "integrated gradients",
        "answer": "",
        "instead_of": "",
        "topic": False,
    },
    "branch": {
        "prompt": "Hello world",
        "ids": [15496, 995, 11],
        "position": 2,
        "token": 262,
        "max_new_tokens": 12,
        "temperature": 3.0,
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "seed": 7,
        "stop": "",
    },
}


@pytest.fixture(scope="module")
def client(page_server):
    from gradio_client import Client

    class OneByOne(Client):
        """gradio_client 2.7 cancels a call that begins while the stream of the last one closes."""

        def send_data(self, *args):
            end = time.monotonic() + 5
            while self.stream_open and not self.pending_event_ids and time.monotonic() < end:
                time.sleep(0.001)
            return super().send_data(*args)

    made = OneByOne(page_server.url, verbose=False)
    yield made
    made.close()


@pytest.fixture(scope="module")
def http(page_server):
    with httpx.Client(base_url=page_server.url, timeout=30) as made:
        yield made


def events(http, endpoint, body):
    """The server-sent events of a call over plain HTTP: [(name, data)]."""
    headers = {"content-type": "application/json"}
    sent = http.post(f"gradio_api/call/{endpoint}", content=body, headers=headers)
    assert sent.status_code == 200, sent.text
    name = endpoint.removeprefix("v2/")
    text = http.get(f"gradio_api/call/{name}/{sent.json()['event_id']}").text
    blocks = [block.split("\n", 1) for block in text.strip().split("\n\n")]
    return [
        (event.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for event, data in blocks
    ]


def call(http, endpoint, **changes):
    """The same with values for all parameters, in order; a str that starts with = is JSON as is."""
    values = PARAMETERS[endpoint] | changes
    parts = [v[1:] if str(v).startswith("=") else json.dumps(v) for v in values.values()]
    return events(http, endpoint, f'{{"data": [{", ".join(parts)}]}}')


def whole(parts):
    """The last update, once those before it have told the same tokens, each of them once."""
    tokens = []
    for part in parts:
        assert part["start"] in (len(tokens), 0)
        tokens[part["start"] :] = part["tokens"]
    before = [token for part in parts[:-1] for token in part["tokens"]]
    assert parts[-1]["start"] == 0
    assert tokens[: len(before)] == before
    return {**parts[-1], "tokens": tokens}


def refusal(found):
    """The words of an error, which must be the only thing that came back."""
    (name, data), *others = found
    assert (name, others) == ("error", [])
    assert set(data) <= {"error", "duration", "visible", "title"}  # no traceback, no paths
    return data["error"]


@pytest.fixture
def slow_model(page_server):
    """Each step takes 50 ms more; the answer tells when those of this test were made."""
    before = len(page_server.steps())
    with page_server.slowed(0.05):
        yield lambda: page_server.steps()[before:]


# --- what it is ------------------------------------------------------------------------------


def test_the_api_lists_the_endpoints_and_no_handler_of_the_page(http):
    info = http.get("gradio_api/info").json()
    assert set(info["named_endpoints"]) == {f"/{name}" for name in PARAMETERS}
    assert info["unnamed_endpoints"] == {}
    for name, values in PARAMETERS.items():
        listed = [p["parameter_name"] for p in info["named_endpoints"][f"/{name}"]["parameters"]]
        assert listed == list(values)


def test_the_api_tells_its_defaults_and_docstrings(http):
    info = http.get("gradio_api/info").json()["named_endpoints"]
    defaults = {
        p["parameter_name"]: p["parameter_default"]
        for p in info["/generate"]["parameters"]
        if p["parameter_has_default"]
    }
    assert defaults == {
        "max_new_tokens": 60,
        "temperature": 0.8,
        "top_k": 50,
        "top_p": 1.0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "seed": 0,
        "stop": "",
    }
    starts = {
        "generate": "Continue a prompt",
        "score": "How likely",
        "attention": "How much each token",
        "classify": "The topic of a news text",
        "models": "The models",
        "lens": "What GPT-2 would say after each",
        "ablate": "What GPT-2 would say next",
        "attribute": "How much each token of a text counts",
        "branch": "Write a completion again",
    }
    for name, start in starts.items():
        assert info[f"/{name}"]["description"].startswith(start)


# --- what each answers -----------------------------------------------------------------------


def test_generate_streams_partial_objects_and_then_the_whole(client, tokenizer):
    found = list(client.submit("Hello world", **ASKED, api_name="/generate"))
    assert whole(found)["tokens"] == found[-1]["tokens"]
    assert 1 <= len(found[0]["tokens"]) < 12
    assert {part["finish_reason"] for part in found[:-1]} == {""}
    last = found[-1]
    assert (last["finish_reason"], last["start"], len(last["tokens"])) == ("length", 0, 12)
    for part in found:
        assert set(part) == GENERATE_KEYS
        assert last["completion"].startswith(part["completion"])
    assert last["text"] == "Hello world" + last["completion"]
    assert last["completion"] == tokenizer.decode([token["id"] for token in last["tokens"]])
    assert last["prompt_ids"] == tokenizer.encode("Hello world")
    assert (last["model"], last["seed"], last["truncated"]) == ("tiny", 7, 0)
    for token in last["tokens"]:
        assert set(token) == TOKEN_KEYS
        assert len(token["top"]) == 10
        assert all(set(other) == {"id", "piece", "prob"} for other in token["top"])
        assert token["piece"] == tokenizer.piece(token["id"])
        assert token["text"] == tokenizer.text(token["id"])
        assert token["prob"] == pytest.approx(math.exp(token["logprob"]))
        assert sum(other["prob"] for other in token["top"]) <= 1 + 1e-6


def test_score_agrees_with_itself(client, tokenizer):
    found = client.predict("Hello world", api_name="/score")
    assert set(found) == {"model", "nll", "perplexity", "truncated", "tokens"}
    assert all(set(t) == {"id", "piece", "logprob", "rank", "entropy"} for t in found["tokens"])
    assert [token["id"] for token in found["tokens"]] == tokenizer.encode("Hello world")
    mean = sum(token["logprob"] for token in found["tokens"]) / len(found["tokens"])
    assert found["nll"] == pytest.approx(-mean, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(found["nll"]))


def test_attention_is_square_and_its_mean_is_that_of_the_heads(client):
    heads = [
        client.predict("Hello big world", layer=1, head=head, api_name="/attention")
        for head in (0, 1, -1)
    ]
    for found in heads:
        assert set(found) == {"model", "pieces", "weights"}
        assert found["pieces"] == ["Hello", "·big", "·world"]
        assert [len(row) for row in found["weights"]] == [3, 3, 3]
        assert all(sum(row) == pytest.approx(1, abs=1e-5) for row in found["weights"])
    first, second, mean = (functools.reduce(operator.iadd, found["weights"], []) for found in heads)
    assert first != second
    halves = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    assert mean == pytest.approx(halves, abs=2e-6)


def test_classify_is_called_classify_and_not_classify_1(client):
    found = client.predict("Oil prices climb", api_name="/classify")
    assert set(found) == {"model", "label", "probs", "truncated", "pieces", "per_token"}
    assert list(found["probs"]) == ["World", "Sports", "Business", "Sci/Tech"]
    assert sum(found["probs"].values()) == pytest.approx(1)
    assert found["label"] == max(found["probs"], key=found["probs"].get)
    assert len(found["per_token"]) == len(found["pieces"]) == 3
    assert found["per_token"][-1] == pytest.approx(list(found["probs"].values()))


def test_lens_reads_each_layer_and_ends_in_what_the_model_says(client, http, tokenizer):
    found = client.predict("Hello big world", position=1, top=3, api_name="/lens")
    assert found["pieces"] == ["Hello", "·big", "·world"]
    assert found["position"] == 1
    assert found["followed"] == {"id": tokenizer.encode(" world")[0], "piece": "·world"}
    assert [row["layer"] for row in found["layers"]] == [0, 1, 2]
    for row in found["layers"]:
        probs = [token["prob"] for token in row["top"]]
        assert probs == sorted(probs, reverse=True)
        assert len(probs) == 3
        assert row["followed_rank"] >= 1
        assert 0 <= row["followed_prob"] <= probs[0]
    last = found["layers"][-1]
    assert last["top"][0]["id"] == found["predicted"]["id"]
    score = client.predict("<|endoftext|>Hello big world", position=2, api_name="/lens")
    token = client.predict("Hello big world", api_name="/score")["tokens"][2]
    assert score["layers"][-1]["followed_rank"] == token["rank"]
    assert math.log(score["layers"][-1]["followed_prob"]) == pytest.approx(token["logprob"], 1e-4)
    assert sum(found["rollout"]) == pytest.approx(1, abs=1e-5)
    assert len(found["rollout"]) == 2
    end = client.predict("Hello big world", api_name="/lens")
    assert end["position"] == 2
    assert end["followed"] is None


def test_ablate_tells_before_and_after(client):
    same = client.predict("Hello big world", position=1, api_name="/ablate")
    for one, other in zip(same["before"]["top"], same["after"]["top"], strict=True):
        assert one["id"] == other["id"]
        assert one["prob"] == pytest.approx(other["prob"], abs=1e-6)
    off = client.predict(
        "Hello big world",
        position=1,
        heads=[[0, 1, 0], [1, 0, 0.5]],
        mlps=[[1, 2]],
        api_name="/ablate",
    )
    assert off["before"] == same["before"]
    assert off["after"] != same["after"]
    assert off["followed"]["piece"] == "·world"
    assert len(off["after"]["top"]) == 10
    skipped = client.predict("Hello", layers=[[0, 0], [1, 0]], api_name="/ablate")
    assert skipped["followed"] is None
    lens = client.predict("Hello", top=10, api_name="/lens")
    for one, other in zip(skipped["after"]["top"], lens["layers"][0]["top"], strict=True):
        assert one["id"] == other["id"]
        assert one["prob"] == pytest.approx(other["prob"], abs=1e-6)


def test_attribute_gives_each_token_its_share(client):
    for method in ("gradient x input", "integrated gradients", "occlusion"):
        found = client.predict("Hello big world", position=1, method=method, api_name="/attribute")
        assert (found["method"], found["answer"], found["instead_of"]) == (method, "·world", None)
        assert len(found["scores"]) == len(found["pieces"]) == 2
        assert (found["error"] is not None) == (method == "integrated gradients")
    lead = client.predict(
        "Hello big world", answer=" cat", instead_of=" dog", api_name="/attribute"
    )
    back = client.predict(
        "Hello big world", answer=" dog", instead_of=" cat", api_name="/attribute"
    )
    assert lead["score"] == pytest.approx(-back["score"], abs=1e-4)
    topic = client.predict("Oil prices climb", topic=True, api_name="/attribute")
    verdict = client.predict("Oil prices climb", api_name="/classify")
    assert (topic["answer"], topic["pieces"]) == (verdict["label"], verdict["pieces"])


def test_branch_keeps_the_beginning_and_repeats_what_was_not_changed(client):
    text = client.predict("Hello world", **ASKED, api_name="/generate")
    ids = text["prompt_ids"] + [token["id"] for token in text["tokens"]]
    same = client.submit("Hello world", ids, 6, ids[6], **ASKED, api_name="/branch")
    assert list(same)[-1] == text
    parts = list(client.submit("Hello world", ids, 6, 262, **ASKED, api_name="/branch"))
    assert whole(parts)["tokens"] == parts[-1]["tokens"]
    assert len(parts[0]["tokens"]) >= 5  # up to the choice, at least
    assert set(parts[-1]) == GENERATE_KEYS
    assert parts[-1]["tokens"][:4] == text["tokens"][:4]
    assert parts[-1]["tokens"][4]["piece"] == "·the"
    assert parts[-1]["tokens"][4]["top"] == text["tokens"][4]["top"]


def test_models_tells_shape_and_fingerprint(client):
    found = client.predict(api_name="/models")
    assert set(found) == {"models", "classifiers", "broken", "device"}
    assert not found["broken"]
    keys = {"name", "parameters", "layers", "heads", "context", "dtype", "sha256"}
    for model in found["models"] + found["classifiers"]:
        assert keys <= set(model)
        assert len(model["sha256"]) == 64
    assert found["models"][0]["name"] == "tiny"


def test_an_empty_prompt_starts_from_the_end_of_text(http):
    _, (found,) = call(http, "generate", prompt="")[-1]
    assert found["prompt_ids"] == [50256]
    assert found["text"] == found["completion"]


def test_a_long_prompt_is_cut_on_the_left_and_told(http):
    _, (found,) = call(http, "generate", prompt=" the" * 100)[-1]
    assert found["truncated"] == 100 - (64 - 12)
    assert len(found["prompt_ids"]) == 52


def test_a_random_seed_is_reported_and_repeats_the_text(http):
    _, (first,) = call(http, "generate", seed=-1)[-1]
    _, (other,) = call(http, "generate", seed=-1)[-1]
    _, (again,) = call(http, "generate", seed=first["seed"])[-1]
    assert first["seed"] != other["seed"]
    assert again == first


def test_named_values_over_plain_http_need_no_defaults(http):
    body = json.dumps({"prompt": "Hello world", **ASKED})
    assert events(http, "v2/generate", body)[-1] == call(http, "generate")[-1]


# --- the same request, the same answer -------------------------------------------------------


def test_streamed_plain_and_parallel_answers_are_the_same(client, http, page_server):
    from gradio_client import Client

    alone = {seed: call(http, "generate", seed=seed)[-1][1][0] for seed in range(4)}
    assert len({found["completion"] for found in alone.values()}) == 4
    kept = ("temperature", "top_k", "max_new_tokens")
    settings = {name: ASKED[name] for name in kept}
    jobs = [
        (seed, client.submit("Hello world", **settings, seed=seed, api_name="/generate"))
        for seed in (0, 1, 2, 3, 3, 2, 1, 0)
    ]
    other = Client(page_server.url, verbose=False)  # a second session
    jobs.append((2, other.submit("Hello world", **settings, seed=2, api_name="/generate")))
    for seed, job in jobs:
        assert list(job)[-1] == alone[seed]
    other.close()


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["=null", "=NaN", "=true", '="3"', "=[1]", "={}", "=-5", "=1e99"])
@pytest.mark.parametrize(
    "name",
    ["max_new_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed"],
)
def test_a_number_that_is_none_is_refused_in_words(http, name, value):
    words = refusal(call(http, "generate", **{name: value}))
    assert words.startswith(f"{name} is ")
    assert f"{name} must be " in words


@pytest.mark.parametrize("value", ["=Infinity", "=-Infinity"])
def test_infinite_numbers_are_refused_in_words(http, value):
    assert "temperature must be" in refusal(call(http, "generate", temperature=value))


@pytest.mark.parametrize(("layer", "head"), [("=null", 0), (0, "=NaN"), (2, 0), (0, 2), (0, -2)])
def test_a_layer_or_head_that_is_not_there_is_refused_in_words(http, layer, head):
    words = refusal(call(http, "attention", layer=layer, head=head))
    assert "must be a whole number from" in words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("=null", "must be a string"),
        ("=5", "must be a string"),
        ('=["a"]', "must be a string"),
        ("={}", "must be a string"),
        ('="a\\ud800"', "lone surrogate (U+D800)"),
        ("x" * 20_001, "the limit is 20,000"),
    ],
)
@pytest.mark.parametrize(
    "endpoint",
    ["generate", "score", "attention", "classify", "lens", "ablate", "attribute", "branch"],
)
def test_a_text_that_is_none_is_refused_in_words(http, endpoint, value, words):
    name = "prompt" if endpoint in ("generate", "branch") else "text"
    assert words in refusal(call(http, endpoint, **{name: value}))


@pytest.mark.parametrize(
    ("endpoint", "words"), [("score", "text is empty"), ("classify", "news text is empty")]
)
def test_an_empty_text_is_refused_in_words(http, endpoint, words):
    assert words in refusal(call(http, endpoint, text=""))


def test_attention_over_more_than_the_context_is_refused_in_words(http):
    assert "context holds 64" in refusal(call(http, "attention", text=" the" * 65))


@pytest.mark.parametrize(
    ("endpoint", "changes", "words"),
    [
        ("lens", {"position": 3}, "position is 3; position must be a whole number from -1 to 2"),
        ("lens", {"position": "=null"}, "position is None"),
        ("lens", {"top": 51}, "top is 51; top must be a whole number from 1 to 50"),
        ("ablate", {"position": -2}, "position is -2"),
        ("ablate", {"heads": "=5"}, "heads must be a list of [layer, head, scale]"),
        ("ablate", {"heads": "=[[0, 1]]"}, "heads must be a list of [layer, head, scale]"),
        ("ablate", {"heads": "=[[0, 2, 0]]"}, "the head to scale is 2; "),
        ("ablate", {"heads": "=[[[], {}, 0]]"}, "must be a whole number"),
        ("ablate", {"mlps": "=[[0, 3]]"}, "the scale of MLP 0 is 3; "),
        ("ablate", {"layers": "=[[0, null]]"}, "the scale of layer 0 is None; "),
        ("attribute", {"method": "magic"}, "no method 'magic'; there are: gradient x input"),
        ("attribute", {"answer": "two words"}, "answer is 2 tokens; name one"),
        ("attribute", {"answer": "a", "instead_of": "a"}, "compared with itself"),
        ("attribute", {"answer": "=null", "instead_of": "=7"}, "must be a string"),
        ("attribute", {"topic": True, "answer": "Art"}, "the topics are: World, Sports"),
        ("attribute", {"topic": True, "text": ""}, "news text is empty"),
        ("branch", {"ids": "=null"}, "ids must be a list of token ids"),
        ("branch", {"ids": "=[1, 2, 3]"}, "does not begin with the prompt's tokens"),
        ("branch", {"position": 1}, "position is 1; position must be a whole number from 2 to 2"),
        ("branch", {"token": 50257}, "token is 50257; token must be a whole number"),
        ("branch", {"ids": '=[15496, 995, "x"]'}, "token is 'x'"),
        ("branch", {"temperature": -1}, "temperature is -1"),
    ],
)
def test_looking_inside_at_nothing_is_refused_in_words(http, endpoint, changes, words):
    assert words in refusal(call(http, endpoint, **changes))


@pytest.mark.parametrize("endpoint", ["lens", "ablate", "attribute"])
def test_looking_inside_more_than_the_context_is_refused_in_words(http, endpoint):
    assert "context holds 64" in refusal(call(http, endpoint, text=" the" * 65))


@pytest.mark.parametrize("stop", ["=null", "=7", '="\\udfff"'])
def test_a_bad_stop_text_is_refused_in_words(http, stop):
    words = refusal(call(http, "generate", stop=stop))
    assert "string" in words or "surrogate" in words


@pytest.mark.parametrize("body", ["", "{", "[]", '{"data": 5}', '{"data": [1' + "0" * 5000])
def test_a_body_that_is_no_request_is_refused(http, body):
    headers = {"content-type": "application/json"}
    answer = http.post("gradio_api/call/score", content=body, headers=headers)
    assert 400 <= answer.status_code < 500
    assert "Traceback" not in answer.text


def test_after_all_that_it_still_answers(http):
    assert call(http, "generate")[-1][0] == "complete"


# --- the stream, and who does not listen -----------------------------------------------------


def test_a_long_answer_is_sent_twice_and_not_once_for_each_of_its_tokens(http):
    """512 tokens once sent 111 MB for an answer of 432 kB."""
    values = list((PARAMETERS["generate"] | {"max_new_tokens": 60}).values())
    sent = http.post("gradio_api/call/generate", json={"data": values}).json()
    text = http.get(f"gradio_api/call/generate/{sent['event_id']}").text
    answer = text.rpartition("data: ")[2]
    assert len(json.loads(answer)[0]["tokens"]) == 60
    assert len(text) < 4 * len(answer)  # each record, the last update, and Gradio's completion


def test_an_answer_that_is_fetched_late_is_whole(http, client):
    values = list(PARAMETERS["generate"].values())
    sent = http.post("gradio_api/call/generate", json={"data": values}).json()
    call(http, "generate", seed=1)  # which waits behind it
    time.sleep(0.5)
    text = http.get(f"gradio_api/call/generate/{sent['event_id']}").text
    last = json.loads(text.rpartition("data: ")[2])[0]
    assert text.strip().split("\n\n")[-1].startswith("event: complete")
    assert last == client.predict("Hello world", **ASKED, api_name="/generate")


def test_an_answer_that_is_not_there_is_told_in_words(http):
    for path in ("call/generate/nowhere", "call/v2/generate/nowhere"):
        answer = http.get(f"gradio_api/{path}")
        assert answer.status_code == 404
        assert "no answer waits" in answer.json()["detail"]


# --- what is left out, misspelt, too much ----------------------------------------------------


@pytest.mark.parametrize("endpoint", ["score", "attention", "lens", "attribute", "classify"])
def test_values_that_are_left_out_are_the_defaults(http, endpoint):
    short = events(http, endpoint, '{"data": ["Hello world"]}')
    assert short[-1] == events(http, f"v2/{endpoint}", '{"text": "Hello world"}')[-1]
    assert short[-1][0] == "complete"


def told(http, path, body):
    """The words of a call that was refused before it was one."""
    headers = {"content-type": "application/json"}
    answer = http.post(f"gradio_api/{path}", content=body, headers=headers)
    assert answer.status_code in (400, 404), answer.text
    return answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        (
            "call/v2/generate",
            '{"prompt": "a", "temprature": 1}',
            "no argument 'temprature'; it ",
        ),
        ("call/v2/generate", "{}", "/generate needs prompt, a str, and none came"),
        ("call/v2/branch", '{"prompt": "a"}', "/branch needs ids, a list"),
        ("call/v2/models", '{"x": 1}', "/models has no argument 'x'; it has none"),
        ("call/v2/score", '{"\\ud800": 1}', "no argument '\\ud800'"),
        ("call/v2/nothing", "{}", "no function 'nothing'; there are: generate"),
        ("call/nothing", '{"data": []}', "no function 'nothing'"),
        ("call/score", '{"text": "a"}', "in this order: text"),
        ("call/score", '{"data": {"text": "a"}}', "in this order: text"),
        ("call/score", "null", "no JSON object"),
        ("call/score", "[" * 100_000, "no JSON object"),
        ("queue/join", '{"data": [], "fn_index": 9999, "session_hash": "x"}', "fn_index is 9999"),
        ("queue/join", '{"data": [], "fn_index": true, "session_hash": "x"}', "fn_index is True"),
        ("queue/join", '{"data": [], "session_hash": "x"}', "fn_index is None"),
        ("queue/join", '{"data": [], "fn_index": 1}', "send a session_hash"),
        ("run/nothing", '{"data": []}', "nothing at this address"),
        ("run/predict", '{"data": []}', "fn_index is None"),
        ("run/predict", '{"data": [], "fn_index": 0}', "the browser's own"),
        ("upload", "{}", "nothing at this address"),
    ],
)
def test_a_call_that_is_none_is_refused_in_words(http, path, body, words):
    assert words in told(http, path, body)


@pytest.mark.parametrize(
    ("endpoint", "data", "words"),
    [
        ("score", [], "/score needs text, a str, and none came"),
        ("score", ["a", "b"], "2 values came; /score takes 1 (text)"),
        ("models", ["a"], "1 values came; /models takes none"),
        (
            "attribute",
            ["a", -1, "occlusion", "", "", "true"],
            "topic is 'true'; topic must be ",
        ),
        ("attribute", ["a", -1, "occlusion", "", "", 1], "topic is 1; topic must be true or false"),
        ("attribute", ["a", -1, ["x"]], "method is ['x']; method must be a string"),
        ("generate", ["a", 5, 1, 0, 1, 0, 1, 0, None], "stop is None; stop must be a string"),
        ("generate", ["a", ["x" * 500]], "…; max_new_tokens must be a whole number"),
        (
            "ablate",
            ["a", -1, {"path": "/etc/hosts", "meta": {"_type": "gradio.FileData"}}],
            "a file",
        ),
    ],
)
@pytest.mark.parametrize("way", ["call", "join"])
def test_values_of_the_wrong_kind_are_told_on_every_way_in(http, way, endpoint, data, words):
    if way == "call":
        assert words in refusal(events(http, endpoint, json.dumps({"data": data})))
        return
    last = joined(http, endpoint, data, session=f"{endpoint} {words}")
    assert words in last["output"]["error"]
    assert last["success"] is False


def joined(http, name, data, *, session):
    """The last message of an event that was asked as the page asks."""
    functions = http.get("config").json()["dependencies"]
    (index,) = [one["id"] for one in functions if one["api_name"] == name]
    body = json.dumps({"data": data, "fn_index": index, "session_hash": session})
    headers = {"content-type": "application/json"}
    assert http.post("gradio_api/queue/join", content=body, headers=headers).status_code == 200
    found = http.get("gradio_api/queue/data", params={"session_hash": session}).text
    messages = [json.loads(line.removeprefix("data: ")) for line in found.strip().split("\n\n")]
    (last,) = [one for one in messages if one["msg"] == "process_completed"]
    return last


def test_half_a_character_in_a_choice_of_the_page_is_told_in_words(http):
    """Gradio repeats it, and could not send it: the stream broke off."""
    last = joined(http, "read", ["a text", "half \ud800", {}], session="half")
    assert "half \\ud800 is not in the list of choices" in last["output"]["error"]


@pytest.mark.parametrize("name", ["wanted", "wanted_1"])
def test_a_preset_that_is_not_there_is_told_where_its_text_would_stand(http, name):
    last = joined(http, name, [{"wanted": {"preset": "nothing"}}], session=f"{name} nothing")
    assert "there is no such preset" in str(last["output"]["data"])


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("cancel", {"event_id": ["x"]}, "session_hash is not as it must be: Field required"),
        ("cancel", {"session_hash": 1, "fn_index": 0, "event_id": "x"}, "valid string"),
        ("reset", {"event_id": {}}, "event_id is not as it must be"),
    ],
)
def test_gradios_other_routes_refuse_in_words_too(http, path, body, words):
    """FastAPI's list of what is wrong is no sentence, and repeats what was sent."""
    found = http.post(f"gradio_api/{path}", json=body)
    assert 400 <= found.status_code < 500
    assert words in found.json()["detail"]


def test_a_text_over_the_context_says_how_much_was_not_read(client):
    score = client.predict(" the" * 100, api_name="/score")
    assert (len(score["tokens"]), score["truncated"]) == (64, 36)
    verdict = client.predict(" the" * 100, api_name="/classify")
    assert len(verdict["pieces"]) + verdict["truncated"] == 100
    why = client.predict(" the" * 100, topic=True, api_name="/attribute")
    assert len(why["pieces"]) + why["truncated"] == 100
    assert client.predict("Hello", api_name="/score")["truncated"] == 0


# --- the log ---------------------------------------------------------------------------------


def test_nothing_that_a_visitor_typed_is_in_the_log(http, page_server):
    """A call without its defaults printed the prompt and a traceback."""
    secret = "SECRETWORD of a visitor"
    values = (None, True, [secret], {secret: secret}, secret, {"path": f"/etc/{secret}"})
    headers = {"content-type": "application/json"}
    for name, parameters in PARAMETERS.items():
        for data in ([], [secret] * 20, *([value] * len(parameters) for value in values)):
            sent = http.post(f"gradio_api/call/{name}", json={"data": data})
            if sent.status_code == 200:
                http.get(f"gradio_api/call/{name}/{sent.json()['event_id']}")
        for body in (secret, "{", json.dumps({secret: secret}), json.dumps([secret])):
            http.post(f"gradio_api/call/{name}", content=body, headers=headers)
            http.post(f"gradio_api/call/v2/{name}", content=body, headers=headers)
    for one in http.get("config").json()["dependencies"]:  # the page's own, by hand
        body = {"data": [{"path": f"/{secret}"}] * 30, "fn_index": one["id"], "session_hash": "log"}
        http.post("gradio_api/queue/join", json=body)
        http.post(f"gradio_api/run/{one['api_name']}", json=body)
    http.post(f"gradio_api/call/{secret}", json={"data": []})
    http.get(f"gradio_api/call/score/{secret}")
    assert call(http, "models")[-1][0] == "complete"
    log = page_server.log()
    assert "SECRETWORD" not in log
    assert "Traceback" not in log
    assert str(ROOT) not in log


# --- the shield ------------------------------------------------------------------------------


def test_a_large_body_is_refused_at_once(http):
    answer = http.post("gradio_api/call/score", content=b" " * (MAX_BODY + 1))
    assert answer.status_code == 413
    assert str(MAX_BODY) in answer.text


def test_a_large_body_that_hides_its_length_is_refused(http):
    pieces = (b" " * 50_000 for _ in range(20))
    answer = http.post("gradio_api/queue/join", content=pieces)
    assert 400 <= answer.status_code < 500


def test_the_longest_prompt_fits_through(http):
    assert call(http, "score", text="\u4e2d" * 20_000)[-1][0] == "complete"


def test_every_answer_has_the_two_headers(http):
    for path in ("", "gradio_api/info", "nowhere"):
        headers = http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "strict-origin-when-cross-origin"


@pytest.mark.parametrize("name", list(PARAMETERS))
@pytest.mark.parametrize("way", ["run", "api"])
def test_nothing_goes_past_the_queue(http, name, way):
    assert http.post(f"gradio_api/{way}/{name}", json={"data": ["x"]}).status_code == 404
    functions = http.get("config").json()["dependencies"]
    (index,) = [one["id"] for one in functions if one["api_name"] == name]
    body = {"data": ["x"], "fn_index": index, "session_hash": "x"}
    assert "joining the queue" in told(http, "run/predict", json.dumps(body))


def test_a_value_that_a_quick_function_of_the_page_can_not_use_is_the_askers_fault(http):
    """Gradio answers 500, as if the page were broken."""
    functions = http.get("config").json()["dependencies"]
    quick = [one for one in functions if not one["queue"] and one["backend_fn"] and one["inputs"]]
    assert quick
    for function in quick:
        body = {"data": [], "fn_index": function["id"], "session_hash": "x"}
        answer = http.post("gradio_api/run/predict", json=body)
        assert answer.status_code == 400
        assert "values and 0 came; load the page again" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/etc/hostname", "app.py", "checkpoints/mini/config.json"])
def test_no_file_of_the_machine_can_be_read(http, path):
    assert http.get(f"gradio_api/file={path}").status_code == 404


# --- stopping --------------------------------------------------------------------------------


def wait_for(condition, *, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_cancelling_stops_the_model_within_two_tokens(client, http, slow_model):
    job = client.submit("Hello", max_new_tokens=60, temperature=0, api_name="/generate")
    wait_for(lambda: len(slow_model()) >= 3)
    job.cancel()
    cancelled = time.time()
    time.sleep(1)
    assert len([made for made in slow_model() if made > cancelled + 0.05]) <= 2
    assert len(slow_model()) < 60
    assert call(http, "generate", max_new_tokens=3)[-1][0] == "complete"


def test_a_listener_that_goes_away_stops_the_model(http, slow_model):
    body = json.dumps({"data": list((PARAMETERS["generate"] | {"max_new_tokens": 60}).values())})
    headers = {"content-type": "application/json"}
    sent = http.post("gradio_api/call/generate", content=body, headers=headers).json()
    with http.stream("GET", f"gradio_api/call/generate/{sent['event_id']}") as stream:
        wait_for(lambda: len(slow_model()) >= 3)
        next(stream.iter_bytes())
    gone = time.time()
    time.sleep(1.5)
    assert len([made for made in slow_model() if made > gone + 0.6]) == 0


def test_two_that_wait_for_each_other_take_turns(client, slow_model):
    """A long completion does not keep a short one waiting until it is done."""
    long = client.submit("Hello", max_new_tokens=50, temperature=0, api_name="/generate")
    wait_for(lambda: len(slow_model()) >= 2)
    short = client.predict("Hello", max_new_tokens=3, temperature=0, api_name="/generate")
    assert short["finish_reason"] == "length"
    assert len(short["tokens"]) == 3
    assert not long.done()
    assert len(list(long)[-1]["tokens"]) == 50
