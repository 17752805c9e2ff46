"""gpt2.engine: limits, truncation, stop texts, deadlines, and many requests at once."""

import itertools
import math
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gpt2.engine import Engine, Limits, Request, seed_or_random
from gpt2.engine.row import overlap
from gpt2.records import Step
from gpt2.sampling import Sampling
from gpt2.tokenizer import ENDOFTEXT_ID
from gpt2.weights import hub

LIVELY = Sampling(temperature=3.0, top_k=0, seed=7)


def ask(engine, prompt="Hello world", count=12, sampling=LIVELY, stop=""):
    """The partial answers to a request; the last one is whole."""
    return list(engine.generate(Request(prompt, count, sampling, stop)))


def answer(trace):
    """What must not depend on anything but the request."""
    return trace.completion, trace.ids, trace.steps, trace.finish_reason, trace.truncated


@pytest.fixture
def scripted(engine, monkeypatch):
    """scripted(ids): what the model writes when it is asked for as many tokens."""

    def script(ids, *, pause=0.0, **settings):
        decoder, first = engine.library.get("tiny").decoder, []

        def fake(logits, draws):
            time.sleep(pause)
            first.extend(len(draw.seen) for draw in draws[: not first])
            tokens = [ids[len(draw.seen) - first[0]] for draw in draws]
            return [
                Step(token, 0.5, 0.5, math.log(0.5), 1, 1.0, (token,), (0.5,), (0.5,))
                for token in tokens
            ]

        with monkeypatch.context() as patch:
            patch.setattr(decoder, "choose", fake)
            return ask(engine, count=len(ids), **settings)

    return script


# --- one request -----------------------------------------------------------------------------


def test_it_yields_after_every_token_and_the_last_is_whole(engine, tokenizer):
    traces = ask(engine)
    assert [len(trace.steps) for trace in traces] == list(range(1, 13))
    assert [trace.finish_reason for trace in traces] == [""] * 11 + ["length"]
    last = traces[-1]
    assert last.completion == tokenizer.decode([step.id for step in last.steps])
    assert list(last.prompt_ids) == tokenizer.encode("Hello world")
    assert last.truncated == 0
    assert (last.model, last.prompt, last.seed) == (engine.catalog.models[0], "Hello world", 7)
    for before, after in itertools.pairwise(traces):
        assert after.completion.startswith(before.completion)
        assert after.seconds >= before.seconds


def test_an_empty_prompt_starts_from_the_end_of_text(engine):
    assert ask(engine, "")[-1].prompt_ids == (ENDOFTEXT_ID,)


def test_the_end_token_ends_the_text_without_being_in_it(engine, scripted, tokenizer):
    traces = scripted([*tokenizer.encode("The end"), ENDOFTEXT_ID])
    assert traces[-1].completion == "The end"
    assert traces[-1].finish_reason == "eos"


def test_half_a_character_is_not_shown_before_its_end(engine, scripted, tokenizer):
    ids = tokenizer.encode("né 👩‍💻 中")
    traces = scripted(ids)
    assert len(traces) == len(ids)
    assert traces[-1].completion == "né 👩‍💻 中"
    assert not any("\ufffd" in trace.completion for trace in traces)


def test_half_a_character_at_the_end_is_shown_as_one(engine, scripted, tokenizer):
    assert scripted(tokenizer.encode("a👩")[:-1])[-1].completion == "a\ufffd"


# --- truncation ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "count", "kept"),
    [(63, 60, 63), (64, 60, 64), (65, 60, 4), (65, 1, 63), (500, 20, 44), (500, 512, 1)],
)
def test_a_prompt_that_does_not_fit_keeps_its_end(engine, length, count, kept):
    trace = ask(engine, " the" * length, count)[-1]
    assert (len(trace.prompt_ids), trace.truncated) == (kept, length - kept)
    room = 64 - kept + 1
    assert len(trace.steps) == min(count, room)
    assert trace.finish_reason == ("length" if count <= room else "context")


def test_what_is_kept_is_the_end(engine, tokenizer):
    prompt = " ".join(str(n) for n in range(200))
    trace = ask(engine, prompt, 10)[-1]
    assert list(trace.prompt_ids) == tokenizer.encode(prompt)[-54:]
    assert trace.prompt == prompt


# --- stop texts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stop", "left"),
    [
        ("one two three four", " three", "one two"),
        ("one two three four", "wo thr", "one t"),  # across tokens
        ("one two three four", "one", ""),
        ("line\n\nnext", "\n\n", "line"),
        ("aaab aab", "ab", "aa"),
        ("né 👩 中 x", "👩 中", "né "),
        ("one two", "three", "one two"),
        ("one two thr", "three", "one two thr"),  # begun but never finished: it was text
    ],
)
def test_a_stop_text_ends_before_itself(engine, scripted, tokenizer, text, stop, left):
    traces = scripted(tokenizer.encode(text), stop=stop)
    assert traces[-1].completion == left
    assert traces[-1].finish_reason == ("stop" if stop in text else "length")
    for trace in traces:
        assert left.startswith(trace.completion)  # never more shown than stays


def test_a_stop_text_in_the_prompt_stops_nothing(engine):
    assert ask(engine, stop="Hello")[-1].finish_reason == "length"


def test_a_stop_text_stops_the_model_too(engine, scripted, tokenizer):
    assert len(scripted(tokenizer.encode(" a b c d e"), stop=" c")[-1].steps) == 3


def test_overlap_is_the_longest_end_that_begins_the_stop_text():
    for text, stop, expected in (
        ("abc", "cd", 1),
        ("abab", "abac", 2),
        ("aaa", "aab", 2),
        ("abc", "abc", 0),  # whole: that is no beginning
        ("", "abc", 0),
        ("abc", "", 0),
        ("abc", "xyz", 0),
    ):
        assert overlap(text, stop) == expected


# --- limits ----------------------------------------------------------------------------------


def test_a_deadline_ends_a_completion_that_takes_too_long(engine, scripted, monkeypatch):
    monkeypatch.setattr(engine.writer, "limits", Limits(seconds=0.1))
    trace = scripted([262] * 50, pause=0.02)[-1]
    assert trace.finish_reason == "deadline"
    assert 0.1 < trace.seconds < 1
    assert 1 <= len(trace.steps) < 50
    assert trace.completion == " the" * len(trace.steps)


@pytest.mark.parametrize("count", [0, -1, 513, 2.5, None, True, math.nan, "3"])
def test_a_count_out_of_range_is_refused_with_the_limit(engine, count):
    with pytest.raises(ValueError, match="max_new_tokens must be a whole number from 1 to 512"):
        ask(engine, count=count)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x" * 20_001, "has 20,001 characters; the limit is 20,000"),
        ("a\ud800", "character 2 .* lone surrogate"),
        (None, "NoneType; it must be a string"),
        (5, "int; it must be a string"),
        (["a"], "list; it must be a string"),
    ],
)
def test_a_text_that_is_none_or_too_long_is_refused_everywhere(engine, text, words):
    for call in (
        lambda: ask(engine, text),
        lambda: engine.inspector.score(text),
        lambda: engine.inspector.classify(text),
        lambda: engine.catalog.encode(text, model=engine.catalog.models[0]),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_a_bad_stop_text_is_refused(engine):
    for stop in (None, 3, "\udc00"):
        with pytest.raises(ValueError, match=r"string|surrogate"):
            ask(engine, stop=stop)


@pytest.mark.parametrize("name", ["nowhere", "tiny-news"])
def test_only_a_language_model_writes(engine, name):
    with pytest.raises(ValueError, match=f"no language model '{name}'; there are: tiny"):
        next(engine.generate(Request("a", 3, LIVELY, model=name)))


def test_a_refused_request_leaves_the_engine_as_it_was(engine):
    before = answer(ask(engine)[-1])
    with pytest.raises(ValueError, match="max_new_tokens"):
        ask(engine, count=0)
    assert answer(ask(engine)[-1]) == before


def test_a_seed_of_minus_1_is_a_random_one():
    drawn = {seed_or_random(-1) for _ in range(20)}
    assert len(drawn) > 15
    assert all(0 <= seed < 2**31 for seed in drawn)
    assert seed_or_random(5) == 5
    for seed in (-2, 2**31, 1.5, None, math.nan, True, "1"):
        with pytest.raises(ValueError, match="seed must be a whole number from -1"):
            seed_or_random(seed)


# --- many at once ----------------------------------------------------------------------------


def test_parallel_requests_give_the_answers_they_give_alone(engine):
    prompts = ["Hello world", "One", "", "Hello world", "A b c d e f", "né 中", " the" * 80, "One"]
    wishes = [
        (p, 14, Sampling(temperature=3.0, top_k=0, seed=i % 4)) for i, p in enumerate(prompts)
    ]
    alone = [answer(ask(engine, *wish)[-1]) for wish in wishes]
    assert len({ids for _, ids, *_ in alone}) >= 6
    together = threading.Barrier(8)

    def run(wish):
        together.wait(timeout=30)
        return answer(ask(engine, *wish)[-1])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, wishes)) == alone
        same = [wishes[0]] * 8
        assert list(pool.map(run, same)) == [alone[0]] * 8


def test_other_questions_in_between_change_nothing(engine):
    alone, verdict = answer(ask(engine)[-1]), engine.inspector.classify("Oil prices climb").probs
    traces = []
    for trace in engine.generate(Request("Hello world", 12, LIVELY)):
        traces.append(trace)
        np.testing.assert_array_equal(engine.inspector.classify("Oil prices climb").probs, verdict)
        engine.inspector.score("something else")
        engine.inspector.attention([1, 2, 3], 0, model="tiny")
    assert answer(traces[-1]) == alone


def test_two_interleaved_completions_do_not_mix(engine):
    wishes = [("Hello world", 12, Sampling(temperature=3.0, top_k=0, seed=s)) for s in (1, 2)]
    alone = [answer(ask(engine, *wish)[-1]) for wish in wishes]
    running = [engine.generate(Request(*wish)) for wish in wishes]
    pairs = list(zip(*running, strict=True))
    assert [answer(trace) for trace in pairs[-1]] == alone


def test_closing_a_completion_early_frees_the_model_and_stops_the_work(engine, monkeypatch):
    made, decoder = [], engine.library.get("tiny").decoder
    choose = decoder.choose

    def counted(logits, draws):
        time.sleep(0.005)
        made.extend(draws)
        return choose(logits, draws)

    monkeypatch.setattr(decoder, "choose", counted)
    running = engine.generate(Request("Hello", 50, LIVELY))
    next(running), next(running)
    running.close()
    count = len(made)
    time.sleep(0.1)
    assert len(made) <= count + 1  # the step that was under way
    assert count < 10
    assert ask(engine)[-1].finish_reason == "length"


def test_an_error_in_the_model_frees_it(engine, monkeypatch):
    def broken(logits, draws):
        raise FloatingPointError("the model gave logits that are not numbers")

    with monkeypatch.context() as patch:
        patch.setattr(engine.library.get("tiny").decoder, "choose", broken)
        with pytest.raises(FloatingPointError):
            ask(engine)
    assert ask(engine)[-1].finish_reason == "length"


# --- the other questions ---------------------------------------------------------------------


def test_a_step_looked_at_later_is_the_one_that_was_taken(engine):
    trace = ask(engine)[-1]
    for place, taken in enumerate(trace.steps, start=len(trace.prompt_ids)):
        step = engine.inspector.step(trace.ids, place, LIVELY, model=trace.model)
        assert (step.id, step.rank, step.top_ids) == (taken.id, taken.rank, taken.top_ids)
        assert step.sampled_prob == pytest.approx(taken.sampled_prob, abs=1e-5)


def test_scores_follow_the_end_of_text_and_agree_with_the_completion(engine, tokenizer):
    trace = ask(engine, "")[-1]
    score = engine.inspector.score_tokens(trace.ids, model="tiny")
    assert score.logprobs == pytest.approx([step.logprob for step in trace.steps], abs=1e-4)
    assert score.ranks.tolist() == [step.rank for step in trace.steps]
    found = engine.inspector.score("Hello world")
    assert list(found.ids) == tokenizer.encode("Hello world")
    assert found.nll == pytest.approx(-float(np.mean(found.logprobs)))
    assert found.perplexity == pytest.approx(math.exp(found.nll))


def test_a_long_text_is_scored_at_its_beginning_and_an_empty_one_refused(engine):
    assert len(engine.inspector.score(" the" * 500).ids) == 64
    with pytest.raises(ValueError, match="text is empty"):
        engine.inspector.score("")


def test_a_verdict_sums_to_1_after_every_token(engine):
    verdict = engine.inspector.classify("Oil prices climb ahead of the storm")
    assert verdict.labels == ("World", "Sports", "Business", "Sci/Tech")
    assert verdict.per_token.shape == (len(verdict.ids), 4)
    np.testing.assert_allclose(verdict.per_token.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(verdict.probs, verdict.per_token[-1])
    assert verdict.label == verdict.labels[int(verdict.probs.argmax())]


def test_news_is_read_as_typed(engine, tokenizer):
    """An address lost its &copy=2, and "price<cost ... goals>fouls" all between the signs."""
    for text in ("x.org/?a=1&region=eu&copy=2", "If price<cost then goals>fouls", "a\n\nb &amp; c"):
        assert list(engine.inspector.classify(f" {text}\n").ids) == tokenizer.encode(text)


def test_a_long_news_text_keeps_its_beginning(engine):
    verdict = engine.inspector.classify("Oil" + " the" * 99)
    assert (len(verdict.ids), verdict.truncated) == (64, 36)
    assert verdict.ids == engine.inspector.classify("Oil" + " the" * 63).ids


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_news_without_a_word_is_refused(engine, text):
    with pytest.raises(ValueError, match="the news text is empty"):
        engine.inspector.classify(text)


def test_a_language_model_does_not_classify(engine):
    with pytest.raises(ValueError, match="tiny is no classifier"):
        engine.inspector.classify("Oil", classifier="tiny")


def test_describe_lists_models_classifiers_and_device(engine):
    found = engine.describe()
    assert found["device"] == "cpu"
    assert found["models"][0]["name"] == "tiny"
    assert found["classifiers"][0]["name"] == "tiny-news"


@pytest.mark.parametrize(("device", "dtype"), [("tpu", "auto"), ("cpu", "int4")])
def test_what_cannot_be_had_is_refused_before_loading(device, dtype):
    with pytest.raises(ValueError, match=r"not available|must be|tpu"):
        Engine.load("nowhere", "nowhere", device=device, dtype=dtype)


# --- refused, or cut -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_", [Request("x" * 20_001), Request("a", 0), Request("a", 3, stop="\ud800")]
)
def test_a_refused_request_is_refused_before_anything_is_begun(engine, request_):
    """The page had cleared text and branches by the time it heard of the refusal."""
    with pytest.raises(ValueError, match=r"limit|max_new_tokens|surrogate"):
        engine.generate(request_)  # not only once it is iterated
    with pytest.raises(ValueError, match=r"limit|max_new_tokens|surrogate"):
        engine.branch(request_, [1, 2], 1, 1)


def test_a_score_tells_how_much_was_not_read(engine):
    assert engine.inspector.score(" the" * 100).truncated == 36
    assert engine.inspector.score(" the" * 64).truncated == 0


# --- what /models tells ----------------------------------------------------------------------


def test_models_are_told_as_they_were_loaded(model_directory, classifier_directory, tmp_path):
    """The file on disk was replaced; /models told its fingerprint for the model in memory."""
    mine = tmp_path / "mine"
    shutil.copytree(model_directory, mine)
    engine = Engine.load(str(mine), str(classifier_directory), device="cpu")
    before = engine.describe()["models"][0]
    weights = mine / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    assert engine.describe()["models"][0] == before
    weights.unlink()
    assert engine.describe()["models"][0] == before


def test_a_broken_model_is_told_by_name_and_fails_nothing_else(
    model_directory, classifier_directory, tmp_path, monkeypatch
):
    monkeypatch.setattr(hub, "CHECKPOINTS", tmp_path)
    shutil.copytree(model_directory, tmp_path / "gone")
    shutil.copytree(model_directory, tmp_path / "cut")
    engine = Engine.load(str(model_directory), str(classifier_directory), device="cpu")
    (tmp_path / "gone" / "config.json").unlink()
    os.truncate(tmp_path / "cut" / "model.safetensors", 1000)
    told = engine.describe()
    assert next(model["name"] for model in told["models"]) == "tiny"
    assert [one["name"] for one in told["broken"]] == ["gone"]
    for name in ("gone", "cut"):
        with pytest.raises(ValueError, match=name) as refused:
            engine.generate(Request("a", model=name))
        assert str(tmp_path) not in str(refused.value)
        assert "config" in str(told["broken"])
    assert str(tmp_path) not in str(told)
