"""gpt2.lens.draw: it is the distribution drawn from, and the slice holds the number drawn."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from gpt2 import lens
from gpt2.generate import generate
from gpt2.lens import Reading
from gpt2.sampling import Sampling, cumulative, distribution, draw, stages

PROMPT = [5, 17, 0, 96]
NAMES = ("softmax", "repetition_penalty", "temperature", "top_k", "top_p", "min_p")
ALL = Sampling(repetition_penalty=1.3, temperature=2.0, top_k=40, top_p=0.9, min_p=0.02, seed=3)
SETTINGS = [
    Sampling(temperature=3.0, top_k=0, seed=11),
    Sampling(temperature=2.0, top_k=5, seed=1),
    Sampling(temperature=0),
    Sampling(temperature=0, top_k=3, top_p=0.5, repetition_penalty=1.4, seed=9),
    ALL,
]


def falls(model, sampling, count=20):
    """Each step of a real completion with what is shown of its draw."""
    steps = list(generate(model, PROMPT, sampling, max_new_tokens=count, eos=-1))
    ids = PROMPT + [step.id for step in steps]
    reading = Reading.of(model, ids[:-1])
    for index, step in enumerate(steps, start=len(PROMPT)):
        yield step, lens.how_drawn(reading, index, sampling)


@pytest.mark.parametrize("sampling", SETTINGS)
def test_the_slice_of_the_token_drawn_holds_the_number(make_model, tiny_config, sampling):
    """200 steps of ten seeds and models for each setting."""
    for seed in range(10):
        model = make_model(tiny_config, seed=seed)
        for step, found in falls(model, replace(sampling, seed=seed)):
            assert found.token == step.id
            assert 0 <= found.low <= found.u < found.high <= 1
            own = found.probs[-1, step.id]
            assert own == pytest.approx(step.sampled_prob, abs=1e-5)
            assert found.high - found.low == pytest.approx(own, abs=1e-5)


def test_greedy_leaves_one_token_at_the_temperature_and_no_choice(tiny_model):
    for step, found in falls(tiny_model, SETTINGS[3]):
        assert found.active == (True, True, True, False, False, False)
        assert found.left == (97, 97, 1, 1, 1, 1)
        assert (found.low, found.high) == (0, 1)
        assert found.probs[-1].tolist() == [float(n == step.id) for n in range(97)]
        assert found.cut[2] == pytest.approx(1 - float(found.probs[1].max()), abs=1e-6)
        assert found.cut[3:] == (0, 0, 0)


def test_the_last_stage_is_what_generate_draws_from(tiny_model):
    reading = Reading.of(tiny_model, PROMPT)
    logits, found = reading.logits_before(4), lens.how_drawn(reading, 4, ALL)
    expected = distribution(logits, ALL, torch.tensor(PROMPT))
    np.testing.assert_array_equal(found.probs[-1], expected.numpy())
    np.testing.assert_array_equal(found.probs[0], logits.softmax(dim=-1).numpy())
    assert found.names == NAMES
    assert found.active == (True,) * 6


def test_each_filter_is_told_what_it_cut(tiny_model):
    for _, found in falls(tiny_model, ALL):
        np.testing.assert_allclose(found.probs.sum(axis=1), 1, atol=1e-5)
        assert found.left[:3] == (97, 97, 97)
        assert found.left[3] == 40
        assert list(found.left) == sorted(found.left, reverse=True)
        assert found.left == tuple((found.probs > 0).sum(axis=1))
        for stage in (3, 4, 5):
            lost = found.probs[stage] == 0
            mass = found.probs[stage - 1][lost].sum()
            assert found.cut[stage] == pytest.approx(mass, abs=1e-6)
            left = found.probs[stage - 1] * ~lost / (1 - mass)  # a filter rescales what it leaves
            np.testing.assert_allclose(found.probs[stage], left, atol=1e-6)
        assert found.cut[4] <= 1 - ALL.top_p + 1e-6


@pytest.mark.parametrize(
    ("sampling", "active"),
    [
        (Sampling(temperature=1, top_k=0), (True, False, False, False, False, False)),
        (Sampling(temperature=1, top_k=97), (True, False, False, False, False, False)),
        (Sampling(temperature=1, top_k=5), (True, False, False, True, False, False)),
        (Sampling(temperature=0.7, top_k=0, min_p=0.1), (True, False, True, False, False, True)),
        (Sampling(temperature=1, top_k=0, top_p=0.5), (True, False, False, False, True, False)),
    ],
)
def test_what_is_off_is_marked_and_changes_nothing(sampling, active):
    logits = 3 * torch.randn(97, generator=torch.Generator().manual_seed(0))
    made = stages(logits, sampling, torch.tensor([1]))
    assert tuple(stage.active for stage in made) == active
    for before, after in pairwise(made):
        assert torch.equal(before.logits, after.logits) != after.active


def test_slices_are_dealt_out_to_all_of_0_to_1(tiny_model):
    logits = Reading.of(tiny_model, PROMPT).logits_before(4)
    probs = distribution(logits, ALL, torch.tensor(PROMPT))
    kept, ends = cumulative(probs)
    assert ends[-1] == 1
    assert bool((ends.diff() > 0).all())
    starts = [0.0, *ends[:-1].tolist()]
    for token, start, end in zip(kept.tolist(), starts, ends.tolist(), strict=True):
        assert draw(probs, start) == token == draw(probs, float(np.nextafter(end, 0)))
