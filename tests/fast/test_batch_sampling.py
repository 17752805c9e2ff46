"""Sampling for many rows at once chooses and tells what gpt2.sampling does for each."""

import random

import pytest
import torch

from gpt2.fast import Draw
from gpt2.fast.batch_sampling import (
    SETTINGS,
    choose_rows,
    seen_of,
    settings_of,
    short_rows,
    steps_of,
    width_of,
)
from gpt2.prediction import describe
from gpt2.sampling import Sampling, distribution, draw, uniform


def choose(logits, draws, padding=0):
    """As a decoder does it."""
    padded = torch.nn.functional.pad(logits, (0, padding), value=-float("inf"))
    vocab_size = logits.size(1)
    settings = torch.from_numpy(settings_of(draws, vocab_size)).to(logits.device)
    assert settings.shape == (len(draws), SETTINGS)
    seen = torch.from_numpy(seen_of(draws, 40, vocab_size)).to(logits.device)
    for width in (width_of(draws, vocab_size), vocab_size):
        rows = choose_rows(padded, settings, seen, vocab_size=vocab_size, width=width)
        numbers = rows.tolist()
        if not short_rows(numbers):
            break
    return steps_of(numbers)


def one_by_one(logits, draws):
    steps = []
    for row, wanted in zip(logits, draws, strict=True):
        seen = torch.tensor(wanted.seen, device=row.device)
        probs = distribution(row, wanted.sampling, seen)
        token = wanted.forced
        if token is None:
            token = draw(probs, uniform(wanted.sampling.seed, len(wanted.seen)))
        steps.append(describe(row, probs, token))
    return steps


def same(step, expected):
    assert (step.id, step.rank) == (expected.id, expected.rank)
    assert step.top_ids == expected.top_ids
    for name in ("prob", "logprob", "entropy", "sampled_prob", "top_probs", "top_sampled_probs"):
        assert getattr(step, name) == pytest.approx(getattr(expected, name), abs=2e-6), name


def random_draw(rng, vocab_size):
    sampling = Sampling(
        repetition_penalty=rng.choice([1, 1, 0.5, 1.3, 4]),
        temperature=rng.choice([0, 1e-20, 1e-4, 0.02, 0.5, 0.8, 1, 1.5, 10]),
        top_k=rng.choice([0, 1, 3, 40, 64, 65, 300, vocab_size, 10**6]),
        top_p=rng.choice([1, 1, 0, 0.3, 0.9, 0.999]),
        min_p=rng.choice([0, 0, 0.02, 0.3, 1]),
        seed=rng.randrange(10**6),
    )
    seen = [rng.randrange(vocab_size) for _ in range(rng.randint(1, 40))]
    return Draw(sampling, seen, rng.choice([None, None, None, rng.randrange(vocab_size)]))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("vocab_size", [7, 97, 3000])
def test_random_rows_and_settings(vocab_size, device):
    rng, generator = random.Random(vocab_size), torch.Generator().manual_seed(vocab_size)
    for _ in range(40):
        count = rng.randint(1, 9)
        scales = 4 * torch.rand(count, 1, generator=generator)
        logits = scales * torch.randn(count, vocab_size, generator=generator) - 5
        logits = logits.to(device)
        draws = [random_draw(rng, vocab_size) for _ in range(count)]
        expected = one_by_one(logits, draws)
        for step, wanted in zip(choose(logits, draws, rng.choice([0, 5])), expected, strict=True):
            same(step, wanted)


def test_a_row_is_what_it_is_alone():
    rng = random.Random(1)
    logits = 3 * torch.randn(8, 500, generator=torch.Generator().manual_seed(1))
    draws = [random_draw(rng, 500) for _ in range(8)]
    together = choose(logits, draws)
    for row, wanted, step in zip(logits, draws, together, strict=True):
        assert choose(row[None], [wanted]) == [step]


def test_ties_with_the_last_of_top_k_stay():
    logits = torch.tensor([[1.0, 3.0, 2.0, 2.0, 2.0, 0.0]])
    (step,) = choose(logits, [Draw(Sampling(top_k=2, temperature=1), [0])])
    kept = dict(zip(step.top_ids, step.top_sampled_probs, strict=True))
    assert [token for token, prob in sorted(kept.items()) if prob > 0] == [1, 2, 3, 4]


def test_what_is_kept_of_ties_does_not_depend_on_the_rows_beside():
    """Half precision has few numbers, and top-p's border is often between equal ones."""
    logits = torch.randn(40, 2000, generator=torch.Generator().manual_seed(3)).round(decimals=1)
    draws = [Draw(Sampling(top_k=0, top_p=0.3, seed=seed), [1]) for seed in range(40)]
    wide = [Draw(Sampling(top_k=1500, top_p=1), [1])]  # has all the others sorted further
    beside = choose(torch.cat([logits, logits[:1]]), draws + wide)
    for row, wanted, step in zip(logits, draws, beside[:-1], strict=True):
        assert choose(row[None], [wanted]) == [step]


def test_a_tie_at_zero_temperature_is_the_first_tokens():
    logits = torch.tensor([[0.0, 2.0, 2.0]])
    (step,) = choose(logits, [Draw(Sampling(temperature=0), [0])])
    assert (step.id, step.sampled_prob, step.rank) == (1, 1, 1)


def test_flat_rows_are_sorted_to_the_end():
    """Top-p keeps more than the 1,024 tokens that are sorted at first."""
    logits = 0.01 * torch.randn(2, 4000, generator=torch.Generator().manual_seed(2))
    draws = [Draw(Sampling(temperature=1, top_k=0, top_p=0.9, seed=s), [5]) for s in (1, 2)]
    for step, wanted in zip(choose(logits, draws), one_by_one(logits, draws), strict=True):
        same(step, wanted)


def test_what_was_sorted_is_enough_but_for_flat_rows():
    logits = 2 * torch.randn(3, 4000, generator=torch.Generator().manual_seed(2))
    samplings = [Sampling(), Sampling(temperature=0), Sampling(top_k=64, top_p=0.9999999)]
    draws = [Draw(sampling, [1]) for sampling in samplings]
    for part in (draws, draws[:2], draws[1:2]):
        settings = torch.from_numpy(settings_of(part, 4000))
        width = width_of(part, 4000)
        rows = choose_rows(logits[: len(part)], settings, None, vocab_size=4000, width=width)
        assert not short_rows(rows.tolist())


def test_settings_that_are_off_need_no_sorting():
    plain = [Draw(Sampling(temperature=0, top_k=50, top_p=0.5), [1])]
    assert width_of(plain, 50257) == 0
    assert width_of([*plain, Draw(Sampling(top_k=50), [1])], 50257) == 64
    assert width_of([Draw(Sampling(top_k=0, top_p=0.9), [1])], 50257) == 1024


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_numbers(bad):
    logits = torch.zeros(2, 9)
    logits[1, 4] = bad
    with pytest.raises(FloatingPointError, match="not numbers"):
        choose(logits, [Draw(Sampling(), [1])] * 2)
    choose(logits[:1], [Draw(Sampling(), [1])])


def test_a_token_that_can_never_come_is_no_error():
    logits = torch.arange(9.0)[None] / 9
    logits[0, 4] = -float("inf")
    draws = [Draw(Sampling(seed=3), [1])]
    same(choose(logits, draws)[0], one_by_one(logits, draws)[0])
