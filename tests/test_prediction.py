"""gpt2.prediction: against transformers, the steps as they were recorded, and log_softmax."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt2 import weights
from gpt2.generate import generate
from gpt2.lens import Reading
from gpt2.prediction import by_length, score_texts, score_tokens
from gpt2.sampling import Sampling

TOLERANCE = 1e-4
IDS = [5, 17, 0, 96, 17, 17, 3, 42, 88, 61, 5, 30]


@pytest.fixture(scope="module")
def pair(tmp_path_factory, make_model, tiny_config, vocabulary):
    """A model and transformers' reading of it."""
    model, path = make_model(tiny_config, seed=5), tmp_path_factory.mktemp("hf") / "model"
    weights.save(model, path, vocabulary=vocabulary)
    return model, GPT2LMHeadModel.from_pretrained(path).eval()


@torch.inference_mode()
def all_logits(model, ids):
    """After every token, [T, V]."""
    return model(torch.tensor([ids]))[0]


def test_logits_equal_transformers(pair):
    model, theirs = pair
    with torch.inference_mode():
        expected = theirs(torch.tensor([IDS])).logits[0]
    torch.testing.assert_close(all_logits(model, IDS), expected, atol=TOLERANCE, rtol=0)
    last = Reading.of(model, IDS).logits_before(len(IDS))
    torch.testing.assert_close(last, expected[-1], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=3.0, top_k=0, seed=2),
        Sampling(temperature=2.0, top_k=8, top_p=0.95, min_p=0.01, repetition_penalty=1.3, seed=4),
        Sampling(temperature=0),
    ],
)
def test_a_replayed_step_is_the_one_recorded_while_writing(pair, sampling):
    model, prompt = pair[0], IDS[:4]
    recorded = list(generate(model, prompt, sampling, max_new_tokens=15, eos=-1))
    ids = prompt + [step.id for step in recorded]
    reading = Reading.of(model, ids)
    for index, before in enumerate(recorded, start=len(prompt)):
        step = reading.step(index, sampling)
        assert (step.id, step.rank, step.top_ids) == (before.id, before.rank, before.top_ids)
        for name in ("prob", "sampled_prob", "top_probs", "top_sampled_probs"):
            assert getattr(step, name) == pytest.approx(getattr(before, name), abs=1e-5)
        assert step.logprob == pytest.approx(before.logprob, abs=TOLERANCE)
        assert step.entropy == pytest.approx(before.entropy, abs=TOLERANCE)


def test_a_token_of_the_prompt_can_be_looked_at_too(pair):
    step = Reading.of(pair[0], IDS).step(1, Sampling())
    assert step.id == IDS[1]
    assert step.logprob == pytest.approx(
        float(all_logits(pair[0], IDS)[0].log_softmax(-1)[IDS[1]]), abs=TOLERANCE
    )


@pytest.mark.parametrize("index", [0, -1, 12])
def test_a_token_without_a_prediction_is_refused(pair, index):
    with pytest.raises(ValueError, match=f"token {index} has no prediction; choose 1 to 11"):
        Reading.of(pair[0], IDS).step(index, Sampling())


def test_scores_equal_log_softmax_rank_and_entropy(pair):
    logprobs, ranks, entropies = score_tokens(pair[0], IDS)
    expected = all_logits(pair[0], IDS)[:-1].double().log_softmax(dim=-1)
    assert logprobs.shape == ranks.shape == entropies.shape == (11,)
    for place, token in enumerate(IDS[1:]):
        row = expected[place]
        assert logprobs[place] == pytest.approx(float(row[token]), abs=TOLERANCE)
        assert ranks[place] == 1 + int((row > row[token]).sum())
        assert entropies[place] == pytest.approx(-float((row.exp() * row).sum()), abs=TOLERANCE)


def test_a_long_text_is_scored_as_if_at_once(make_model, tiny_config):
    """Logits come 128 places at a time; none may be lost or moved at the seams."""
    model = make_model(replace(tiny_config, n_ctx=300))
    ids = torch.randint(97, (300,), generator=torch.Generator().manual_seed(1)).tolist()
    logprobs, _, _ = score_tokens(model, [0, *ids])
    whole = all_logits(model, [0, *ids[:-1]]).log_softmax(dim=-1)
    expected = whole[torch.arange(300), torch.tensor(ids)].numpy()
    np.testing.assert_allclose(logprobs, expected, atol=TOLERANCE)


def test_texts_read_together_are_scored_as_alone(pair):
    texts = [(IDS, 3), (IDS[:2], 1), (IDS[3:9], 5), (IDS[::-1], 11)]
    for (ids, last), found in zip(texts, score_texts(pair[0], texts), strict=True):
        for ours, alone in zip(found, score_tokens(pair[0], ids, last=last), strict=True):
            assert ours.shape == (last,)
            np.testing.assert_allclose(ours, alone, atol=1e-5)


@pytest.mark.parametrize(("device", "most"), [("cpu", 1024), ("cuda", 8192)])
def test_batches_by_length_hold_every_text_once_and_stay_small(device, most):
    lengths = [*np.random.default_rng(0).integers(1, 600, 500).tolist(), 9999, 1024, 1, 1]
    batches = list(by_length(lengths, device=torch.device(device)))
    assert sorted(place for batch in batches for place in batch) == list(range(504))
    taken = [len(batch) * max(lengths[place] for place in batch) for batch in batches]
    assert all(size <= most for size in taken[:-1])
    assert [lengths[place] for place in batches[-1]] == [9999]  # a long one is read alone
    assert sum(taken) < 1.1 * sum(lengths)
    assert list(by_length([], device=torch.device(device))) == []
