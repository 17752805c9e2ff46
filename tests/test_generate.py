"""gpt2.generate: against transformers' greedy search, and the promises about ends and seeds."""

from dataclasses import replace
from itertools import islice

import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt2 import generate as generate_module
from gpt2 import weights
from gpt2.generate import generate, go_on
from gpt2.sampling import Sampling

GREEDY = Sampling(temperature=0)
LIVELY = Sampling(temperature=3.0, top_k=0, seed=11)  # a tiny random model repeats itself otherwise
PROMPT = [5, 17, 0, 96]
NO_EOS = -1


def tokens(model, ids, sampling, count, *, eos=NO_EOS):
    return [step.id for step in generate(model, ids, sampling, max_new_tokens=count, eos=eos)]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory, make_model, tiny_config, vocabulary):
    """Three of our models, each with transformers' reading of the directory we wrote."""
    made = []
    for seed in range(3):
        model, path = make_model(tiny_config, seed=seed), tmp_path_factory.mktemp("hf") / "model"
        weights.save(model, path, vocabulary=vocabulary)
        made.append((model, GPT2LMHeadModel.from_pretrained(path).eval()))
    return made


@pytest.mark.parametrize("penalty", [1.0, 1.4])
@pytest.mark.parametrize("prompt", [[5], PROMPT, list(range(12))])
def test_greedy_equals_transformers(pairs, prompt, penalty):
    for model, theirs in pairs:
        expected = theirs.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=12,
            repetition_penalty=penalty,
            eos_token_id=None,
            pad_token_id=0,
        )[0, len(prompt) :].tolist()
        sampling = replace(GREEDY, repetition_penalty=penalty)
        assert tokens(model, prompt, sampling, 12) == expected


def test_greedy_asks_for_no_seed(tiny_model):
    first = tokens(tiny_model, PROMPT, GREEDY, 10)
    assert first == tokens(tiny_model, PROMPT, replace(GREEDY, seed=99), 10)


# --- the end ---------------------------------------------------------------------------------


def test_it_ends_at_the_length_asked_for(tiny_model):
    for count in (1, 2, 20):
        steps = list(generate(tiny_model, PROMPT, LIVELY, max_new_tokens=count, eos=NO_EOS))
        assert [step.finish_reason for step in steps] == [""] * (count - 1) + ["length"]


def test_it_ends_with_the_end_token_and_yields_it(tiny_model):
    free = tokens(tiny_model, PROMPT, LIVELY, 15)
    eos = next(token for token in free[3:] if token not in free[:3])
    steps = list(generate(tiny_model, PROMPT, LIVELY, max_new_tokens=15, eos=eos))
    assert [step.id for step in steps] == free[: free.index(eos) + 1]
    assert steps[-1].finish_reason == "eos"
    assert not any(step.finish_reason for step in steps[:-1])


def test_the_end_token_at_the_last_place_is_called_an_end(tiny_model):
    free = tokens(tiny_model, PROMPT, LIVELY, 1)
    (step,) = generate(tiny_model, PROMPT, LIVELY, max_new_tokens=1, eos=free[0])
    assert step.finish_reason == "eos"


def test_it_ends_when_the_context_is_full(tiny_model):
    n_ctx = tiny_model.config.n_ctx
    for length in (1, 20, n_ctx):
        ids = [3] * length
        steps = list(generate(tiny_model, ids, LIVELY, max_new_tokens=100, eos=NO_EOS))
        assert len(steps) == n_ctx - length + 1  # the last one needs no place of its own
        assert steps[-1].finish_reason == "context"


def test_the_end_token_in_the_prompt_ends_nothing(tiny_model):
    free = tokens(tiny_model, [7, 7, 7], LIVELY, 10)
    assert 7 not in free
    assert tokens(tiny_model, [7, 7, 7], LIVELY, 10, eos=7) == free


@pytest.mark.parametrize("length", [0, 25])
def test_a_prompt_that_does_not_fit_is_refused(tiny_model, length):
    with pytest.raises(ValueError, match=f"{length} tokens; it must have 1 to 24"):
        next(generate(tiny_model, [1] * length, GREEDY, max_new_tokens=1))


def test_no_new_tokens_is_refused(tiny_model):
    with pytest.raises(ValueError, match="max_new_tokens is 0"):
        next(generate(tiny_model, PROMPT, GREEDY, max_new_tokens=0))


# --- seeds -----------------------------------------------------------------------------------


def test_a_seed_gives_the_same_tokens_and_another_seed_others(tiny_model):
    first = list(generate(tiny_model, PROMPT, LIVELY, max_new_tokens=20, eos=NO_EOS))
    again = list(generate(tiny_model, PROMPT, LIVELY, max_new_tokens=20, eos=NO_EOS))
    assert first == again
    assert (
        len({tuple(tokens(tiny_model, PROMPT, replace(LIVELY, seed=s), 20)) for s in range(8)}) == 8
    )


@pytest.mark.parametrize("cut", [1, 7, 19])
def test_going_on_from_a_part_of_the_text_writes_the_same_rest(tiny_model, cut):
    sampling = replace(LIVELY, repetition_penalty=1.2)
    whole = list(generate(tiny_model, PROMPT, sampling, max_new_tokens=20, eos=NO_EOS))
    start = PROMPT + [step.id for step in whole[:cut]]
    rest = list(generate(tiny_model, start, sampling, max_new_tokens=20 - cut, eos=NO_EOS))
    assert [step.id for step in rest] == [step.id for step in whole[cut:]]
    for ours, before in zip(rest, whole[cut:], strict=True):
        assert ours.logprob == pytest.approx(before.logprob, abs=1e-4)


def test_a_changed_token_changes_only_what_follows(tiny_model):
    whole = tokens(tiny_model, PROMPT, LIVELY, 20)
    other = tokens(tiny_model, [*PROMPT, *whole[:5], (whole[5] + 1) % 97], LIVELY, 14)
    assert other != whole[6:]


def test_no_global_random_state_is_used(tiny_model):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    tokens(tiny_model, PROMPT, LIVELY, 10)
    assert torch.equal(before, torch.random.get_rng_state())


# --- the work --------------------------------------------------------------------------------


def test_it_reads_the_prompt_once_and_then_one_token_at_a_time(tiny_model, monkeypatch):
    lengths = []
    prefill = generate_module.prefill

    def counted(model, ids, cache):
        lengths.append(len(ids))
        return prefill(model, ids, cache)

    monkeypatch.setattr(generate_module, "prefill", counted)
    tokens(tiny_model, PROMPT, LIVELY, 5)
    assert lengths == [4, 1, 1, 1, 1]  # nothing is computed after the last token
    lengths.clear()
    steps = generate(tiny_model, PROMPT, LIVELY, max_new_tokens=20, eos=NO_EOS)
    assert len(list(islice(steps, 3))) == 3
    steps.close()
    assert lengths == [4, 1, 1]


def test_each_step_holds_what_a_whole_pass_over_the_text_says(tiny_model):
    steps = list(generate(tiny_model, PROMPT, LIVELY, max_new_tokens=15, eos=NO_EOS))
    ids = PROMPT + [step.id for step in steps]
    with torch.inference_mode():
        logprobs = tiny_model(torch.tensor([ids[:-1]]))[0].log_softmax(dim=-1)
    for place, step in enumerate(steps, start=len(PROMPT) - 1):
        assert step.logprob == pytest.approx(float(logprobs[place, step.id]), abs=1e-4)
        assert step.top_ids[0] == int(logprobs[place].argmax())


# --- a start that was read before, and forced tokens ------------------------------------------


def test_a_start_saves_the_reading_and_changes_nothing(tiny_model, monkeypatch):
    plain = list(generate(tiny_model, PROMPT, LIVELY, max_new_tokens=9, eos=NO_EOS))
    start = generate_module.read(tiny_model, PROMPT, capacity=13)
    lengths, prefill = [], generate_module.prefill
    monkeypatch.setattr(
        generate_module,
        "prefill",
        lambda model, ids, cache: lengths.append(len(ids)) or prefill(model, ids, cache),
    )
    again = go_on(tiny_model, start, PROMPT, LIVELY, max_new_tokens=9, eos=NO_EOS)
    assert list(again) == plain
    assert lengths == [1] * 8


def test_a_start_of_another_text_is_refused(tiny_model):
    start = generate_module.read(tiny_model, PROMPT[:3], capacity=13)
    with pytest.raises(ValueError, match="the start holds 3 tokens; the text has 4"):
        next(go_on(tiny_model, start, PROMPT, LIVELY, max_new_tokens=9, eos=NO_EOS))


def test_forced_tokens_are_written_and_described_and_then_the_seed_goes_on(tiny_model):
    plain = list(generate(tiny_model, PROMPT, LIVELY, max_new_tokens=9, eos=NO_EOS))
    own = [step.id for step in plain]
    settings = {"max_new_tokens": 9, "eos": NO_EOS}

    def fresh():
        return generate_module.read(tiny_model, PROMPT, capacity=13)

    assert list(go_on(tiny_model, fresh(), PROMPT, LIVELY, forced=own[:5], **settings)) == plain
    other = [*own[:4], (own[4] + 1) % 97]
    found = list(go_on(tiny_model, fresh(), PROMPT, LIVELY, forced=other, **settings))
    assert [step.id for step in found[:5]] == other
    assert found[:4] == plain[:4]
    assert found[4].top_ids == plain[4].top_ids
    assert found[4].prob != plain[4].prob
    rest = tokens(tiny_model, [*PROMPT, *other], LIVELY, 4)
    assert [step.id for step in found[5:]] == rest
