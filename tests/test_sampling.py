"""gpt2.sampling: each filter against transformers' and by hand, draws, and refusals."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers.generation import logits_process as theirs

from gpt2.checks import check_number
from gpt2.prediction import describe
from gpt2.sampling import (
    SEED_LIMIT,
    Sampling,
    distribution,
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalize,
    uniform,
)

OFF = Sampling(temperature=1.0, top_k=0)
NONE_SEEN = torch.tensor([0])


def random_logits(seed=0, size=200):
    return 3 * torch.randn(size, generator=torch.Generator().manual_seed(seed))


def warped(warper, logits, seen=(0,)):
    """What a processor of transformers makes of the logits."""
    return warper(torch.tensor([list(seen)]), logits[None].clone())[0]


# --- the filters -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 2, 50, 199, 200, 1000])
def test_top_k_equals_transformers(seed, k):
    logits = random_logits(seed)
    assert torch.equal(keep_top_k(logits, k), warped(theirs.TopKLogitsWarper(k), logits))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("p", [1e-6, 0.1, 0.5, 0.9, 0.999])
def test_top_p_equals_transformers(seed, p):
    logits = random_logits(seed)
    assert torch.equal(keep_top_p(logits, p), warped(theirs.TopPLogitsWarper(p), logits))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("p", [1e-6, 0.01, 0.2, 0.9, 1.0])
def test_min_p_equals_transformers(seed, p):
    logits = random_logits(seed)
    assert torch.equal(keep_min_p(logits, p), warped(theirs.MinPLogitsWarper(p), logits))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.2, 5.0])
def test_the_repetition_penalty_equals_transformers(seed, penalty):
    logits, seen = random_logits(seed), [3, 7, 3, 3, 150, 0]
    expected = warped(theirs.RepetitionPenaltyLogitsProcessor(penalty), logits, seen)
    torch.testing.assert_close(penalize(logits, torch.tensor(seen), penalty), expected)


@pytest.mark.parametrize("seed", range(5))
def test_all_filters_together_equal_transformers_in_the_documented_order(seed):
    logits, seen = random_logits(seed), [3, 7, 3, 150]
    sampling = Sampling(
        repetition_penalty=1.3, temperature=1.4, top_k=60, top_p=0.9, min_p=0.02, seed=0
    )
    expected = logits
    for warper in (
        theirs.RepetitionPenaltyLogitsProcessor(1.3),
        theirs.TemperatureLogitsWarper(1.4),
        theirs.TopKLogitsWarper(60),
        theirs.TopPLogitsWarper(0.9),
        theirs.MinPLogitsWarper(0.02),
    ):
        expected = warped(warper, expected, seen)
    ours = distribution(logits, sampling, torch.tensor(seen))
    torch.testing.assert_close(ours, expected.softmax(dim=-1), atol=1e-6, rtol=1e-5)
    assert 1 < int((ours > 0).sum()) < 60


def test_top_k_keeps_all_that_tie_with_the_last():
    logits = torch.tensor([1.0, 2.0, 3.0, 2.0, 2.0, 0.0])
    assert torch.isfinite(keep_top_k(logits, 2)).tolist() == [False, True, True, True, True, False]


@pytest.mark.parametrize("p", [0.1, 0.9, 0.9999])
@pytest.mark.parametrize("heat", [1, 20])
def test_top_p_sorts_as_many_as_it_needs(monkeypatch, heat, p):
    logits = torch.randn(3000, generator=torch.Generator().manual_seed(1)) * 3 / heat
    found = {}
    for first in (1, 40, 3000):
        monkeypatch.setattr("gpt2.sampling.FIRST_SORTED", first)
        found[first] = keep_top_p(logits, p)
    assert torch.equal(found[1], found[3000])
    assert torch.equal(found[40], found[3000])
    exact = logits.double().softmax(dim=-1).sort(descending=True).values.cumsum(dim=-1)
    assert abs(int(torch.isfinite(found[40]).sum()) - int((exact < p).sum()) - 1) <= 1


def test_top_p_keeps_the_fewest_that_reach_it_also_among_ties():
    logits = torch.log(torch.tensor([0.25, 0.25, 0.25, 0.25]))
    for p, kept in ((0.0, 1), (0.2, 1), (0.3, 2), (0.6, 3), (0.9, 4), (1.0, 4)):
        assert int(torch.isfinite(keep_top_p(logits, p)).sum()) == kept


def test_top_p_counts_probability_among_those_that_top_k_left():
    logits = keep_top_k(torch.log(torch.tensor([0.4, 0.2, 0.2001, 0.1, 0.0999])), 3)
    kept = torch.isfinite(keep_top_p(logits, 0.6))  # 0.4 of 0.8 is half of what is left
    assert kept.tolist() == [True, False, True, False, False]


def test_min_p_keeps_what_ties_with_the_best_even_at_1():
    kept = torch.isfinite(keep_min_p(torch.tensor([2.0, 2.0, 1.9]), 1.0))
    assert kept.tolist() == [True, True, False]


def test_a_temperature_divides_the_logits():
    logits = random_logits()
    for temperature in (0.1, 0.7, 2.0):
        ours = distribution(logits, replace(OFF, temperature=temperature), NONE_SEEN)
        torch.testing.assert_close(ours, (logits / temperature).softmax(dim=-1))


def test_temperature_0_takes_the_likeliest_after_the_penalty():
    logits = torch.tensor([5.0, 4.9, -1.0])
    greedy = replace(OFF, temperature=0)
    assert distribution(logits, greedy, torch.tensor([2])).tolist() == [1, 0, 0]
    punished = replace(greedy, repetition_penalty=1.5)
    assert distribution(logits, punished, torch.tensor([0, 2])).tolist() == [0, 1, 0]


def test_filters_that_are_off_leave_the_softmax():
    logits = random_logits()
    assert torch.equal(distribution(logits, OFF, NONE_SEEN), logits.softmax(dim=-1))


def test_the_logits_are_not_changed():
    logits = random_logits()
    before = logits.clone()
    sampling = Sampling(repetition_penalty=2, temperature=0.5, top_k=5, top_p=0.5, min_p=0.5)
    distribution(logits, sampling, NONE_SEEN)
    assert torch.equal(logits, before)


# --- the draw --------------------------------------------------------------------------------


def test_draws_are_spread_as_the_probabilities_say():
    probs = torch.tensor([0.05, 0.0, 0.3, 0.15, 0.5, 0.0])
    count = 20_000
    drawn = [draw(probs, uniform(1, position)) for position in range(count)]
    seen = np.bincount(drawn, minlength=6)
    assert seen[1] == seen[5] == 0
    kept = probs > 0
    expected = probs[kept].numpy() * count
    chi_square = float(((seen[kept.numpy()] - expected) ** 2 / expected).sum())
    assert chi_square < 16.27  # 3 degrees of freedom, 1 in 1000


def test_a_draw_inverts_the_cumulative_distribution_in_the_order_of_ids():
    probs = torch.tensor([0.25, 0.0, 0.25, 0.5])
    for u, token in ((0.0, 0), (0.2499, 0), (0.25, 2), (0.4999, 2), (0.5, 3), (0.9999999, 3)):
        assert draw(probs, u) == token


def test_a_draw_never_takes_a_token_that_was_cut():
    probs = torch.zeros(50257)
    probs[[7, 50000]] = torch.tensor([0.3, 0.3])  # short of 1, as rounding may leave it
    largest = float(np.nextafter(1.0, 0.0))
    assert [draw(probs, u) for u in (0.0, 0.49, 0.51, largest)] == [7, 7, 50000, 50000]


def test_uniform_is_a_function_of_seed_and_position_alone():
    numbers = [uniform(seed, position) for seed in range(20) for position in range(50)]
    np.random.seed(3)
    assert numbers == [uniform(seed, position) for seed in range(20) for position in range(50)]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= number < 1 for number in numbers)
    assert abs(np.mean(numbers) - 0.5) < 0.03
    neighbours = np.corrcoef(numbers[:-1], numbers[1:])[0, 1]
    assert abs(neighbours) < 0.1


def test_uniform_is_the_same_on_every_machine():
    assert uniform(0, 0) == 0.011546754286331562
    assert uniform(SEED_LIMIT - 1, 1023) == 0.46199242053253864


# --- numbers from outside --------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [None, "1", True, False, [1], {}, 1j, math.nan, math.inf, -math.inf, -0.001, 2.5]
)
def test_check_number_refuses_in_one_sentence(value):
    with pytest.raises(ValueError, match=r"^heat is .*; heat must be a number from 0 to 2$"):
        check_number("heat", value, 0, 2)


@pytest.mark.parametrize("value", [1.5, 1e-9, math.nan, -1, 11, True, None, "7"])
def test_check_number_refuses_what_is_no_whole_number(value):
    with pytest.raises(ValueError, match=r"^n is .*; n must be a whole number from 0 to 10$"):
        check_number("n", value, 0, 10, whole=True)


def test_check_number_refuses_a_whole_number_too_large_for_a_float():
    with pytest.raises(ValueError, match="must be a whole number"):
        check_number("n", 10**400, 0, 10, whole=True)


def test_check_number_returns_the_kind_that_was_asked_for():
    assert check_number("n", 3.0, 0, 10, whole=True) == 3
    assert isinstance(check_number("n", 3.0, 0, 10, whole=True), int)
    assert isinstance(check_number("n", 3, 0, 10), float)
    assert check_number("n", 0, 0, 10) == 0
    assert check_number("n", 10, 0, 10) == 10


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("repetition_penalty", (0, 0.09, 10.1, math.nan, None, True)),
        ("temperature", (-0.1, 10.1, math.inf, "hot")),
        ("top_k", (-1, 2.5, 1_000_001, None)),
        ("top_p", (-0.1, 1.1, math.nan)),
        ("min_p", (-0.1, 1.1, math.nan)),
        ("seed", (-1, 0.5, SEED_LIMIT, math.nan, None, False)),
    ],
)
def test_sampling_refuses_each_number_out_of_range(name, values):
    for value in values:
        with pytest.raises(ValueError, match=f"^{name} is "):
            Sampling(**{name: value})


# --- the record of a choice ------------------------------------------------------------------


def test_describe_gives_the_numbers_of_the_raw_softmax():
    logits = random_logits(4)
    probs = distribution(logits, replace(OFF, temperature=0.7, top_k=5), NONE_SEEN)
    raw = logits.double().softmax(dim=-1)
    order = raw.argsort(descending=True)
    token = int(order[3])
    step = describe(logits, probs, token, finish_reason="length")
    assert (step.id, step.rank, step.finish_reason) == (token, 4, "length")
    assert step.prob == pytest.approx(float(raw[token]), rel=1e-5)
    assert step.logprob == pytest.approx(math.log(raw[token]), abs=1e-5)
    assert step.entropy == pytest.approx(-float((raw * raw.log()).sum()), abs=1e-5)
    assert step.sampled_prob == pytest.approx(float(probs[token]))
    assert step.top_ids == tuple(order[:10].tolist())
    assert step.top_probs == pytest.approx(raw[order[:10]].tolist(), rel=1e-5)
    assert step.top_sampled_probs == pytest.approx(probs[order[:10]].tolist())
    assert step.top_sampled_probs[5:] == (0,) * 5  # cut by top_k


def test_describe_ranks_a_tie_by_those_above_it():
    logits = torch.tensor([1.0, 3.0, 3.0, 2.0])
    ranks = [describe(logits, logits.softmax(-1), token).rank for token in range(4)]
    assert ranks == [4, 1, 1, 3]


def test_describe_bears_probabilities_of_0():
    logits = torch.tensor([0.0, -1000.0, -math.inf])
    step = describe(logits, logits.softmax(-1), 0)
    assert (step.prob, step.entropy, step.rank) == (1, 0, 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_describe_refuses_logits_that_are_not_numbers(bad):
    logits = torch.tensor([0.0, bad, 1.0])
    with pytest.raises(FloatingPointError, match="not numbers"):
        describe(logits, logits.softmax(-1), 0)


@pytest.mark.parametrize(
    "sampling",
    [
        OFF,
        replace(OFF, temperature=0),
        replace(OFF, top_k=2),
        replace(OFF, min_p=0.1),
        replace(OFF, repetition_penalty=1.5),
        replace(OFF, top_p=0.9),
    ],
)
def test_a_model_that_gives_nan_is_told_and_not_sampled(sampling):
    logits = torch.full((50,), math.nan)
    with pytest.raises(FloatingPointError, match="not numbers"):
        describe(logits, distribution(logits, sampling, NONE_SEEN), 0)


@pytest.mark.parametrize("temperature", [1e-3 / 2, 1e-38, 1e-45, 5e-324])
def test_a_tiny_temperature_is_the_greedy_limit(temperature):
    """Dividing by it gave infinities, and then no token at all."""
    logits = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    logits[3] = logits[700] = 9.0
    cold = Sampling(temperature=temperature, top_k=0, min_p=0.1)
    probs = distribution(logits, cold, torch.tensor([1]))
    assert probs[3] == probs[700] == 0.5
    assert draw(probs, 0.3) == 3
    assert draw(probs, 0.7) == 700


def test_a_whole_number_may_be_written_with_a_point():
    """top_k 50.0, as some clients send it, ended in a TypeError."""
    assert Sampling(top_k=50.0, seed=7.0) == Sampling(top_k=50, seed=7)
    logits = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    kept = distribution(logits, Sampling(top_k=50.0), torch.tensor([1]))
    assert int((kept > 0).sum()) == 50


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**64, -(2**64), 10**400, True, "1", None])
def test_what_is_no_seed_is_refused_by_its_value(value):
    shown = "far out of range" if value == 10**400 else str(value)
    with pytest.raises(ValueError, match="seed must be a whole number from 0 to") as error:
        Sampling(seed=value)
    assert shown in str(error.value)
