"""Any decoder writes what gpt2.generate writes, whoever else is being written for."""

import pytest
import torch

from gpt2 import fast
from gpt2.config import GPT2Config
from gpt2.fast import Draw, Feed
from gpt2.generate import generate
from gpt2.sampling import Sampling

PROMPTS = [[5, 7, 9], [1], [12, 3, 3, 8, 20, 41]]
SAMPLINGS = [
    Sampling(temperature=0),
    Sampling(temperature=1.3, top_k=20, seed=4),
    Sampling(temperature=0.9, top_k=0, top_p=0.8, repetition_penalty=1.3, min_p=0.01, seed=9),
]


SHAPES = {  # widths and heads that fill vectors, and that leave some of one over
    "tiny": GPT2Config(vocab_size=97, n_ctx=24, n_embd=32, n_layer=3, n_head=4),
    "odd": GPT2Config(vocab_size=101, n_ctx=24, n_embd=42, n_layer=2, n_head=3),
    "wide": GPT2Config(vocab_size=97, n_ctx=24, n_embd=192, n_layer=2, n_head=3),
}


@pytest.fixture(
    scope="module",
    params=[(kind, name) for kind in ("plain", "native", "graphs") for name in SHAPES],
    ids="-".join,
)
def decoder(request, make_model):
    kind, name = request.param
    model = make_model(SHAPES[name])
    if kind == "plain":
        return fast.PlainDecoder(model)
    if kind == "graphs":
        return fast.GraphDecoder(model, rows=8)
    if fast.library() is None:
        pytest.skip("no C++ compiler here")
    return fast.NativeDecoder(model)


def write(decoder, prompts, samplings, count):
    """Texts written together, and the steps of each."""
    seen = [list(prompt) for prompt in prompts]
    caches = [decoder.cache(len(prompt) + count) for prompt in prompts]
    pending, steps = [list(prompt) for prompt in prompts], [[] for _ in prompts]
    for _ in range(count):
        logits = decoder.read([Feed(c, p) for c, p in zip(caches, pending, strict=True)])
        draws = [Draw(s, ids) for s, ids in zip(samplings, seen, strict=True)]
        for i, step in enumerate(decoder.choose(logits, draws)):
            steps[i].append(step)
            seen[i].append(step.id)
            pending[i] = [step.id]
    return steps


def test_together_is_as_alone(decoder):
    together = write(decoder, PROMPTS, SAMPLINGS, 12)
    for i, (prompt, sampling) in enumerate(zip(PROMPTS, SAMPLINGS, strict=True)):
        assert write(decoder, [prompt], [sampling], 12)[0] == together[i]


def test_the_text_is_that_of_generate(decoder):
    for prompt, sampling in zip(PROMPTS, SAMPLINGS, strict=True):
        (steps,) = write(decoder, [prompt], [sampling], 12)
        plain = list(generate(decoder.model, prompt, sampling, max_new_tokens=12, eos=-1))
        assert [step.id for step in steps] == [step.id for step in plain]
        for step, expected in zip(steps, plain, strict=True):
            assert step.rank == expected.rank
            assert step.logprob == pytest.approx(expected.logprob, abs=1e-4)
            assert step.entropy == pytest.approx(expected.entropy, abs=1e-4)
            assert step.sampled_prob == pytest.approx(expected.sampled_prob, abs=1e-4)
            assert step.top_ids == expected.top_ids
            assert step.prob == pytest.approx(expected.prob, abs=1e-4)
            assert step.top_probs == pytest.approx(expected.top_probs, abs=1e-4)
            assert step.top_sampled_probs == pytest.approx(expected.top_sampled_probs, abs=1e-4)


def test_a_forced_token_is_described(decoder):
    cache = decoder.cache(3)
    logits = decoder.read([Feed(cache, [5, 7, 9])])
    (step,) = decoder.choose(logits, [Draw(SAMPLINGS[1], [5, 7, 9], forced=11)])
    assert step.id == 11
    assert step.logprob == pytest.approx(float(logits[0].log_softmax(-1)[11]), abs=1e-4)


def test_a_cache_goes_back(decoder):
    cache = decoder.cache(6)
    first = decoder.read([Feed(cache, [5, 7, 9])])
    decoder.read([Feed(cache, [2])])
    cache.rewind(2)
    again = decoder.read([Feed(cache, [9])])
    torch.testing.assert_close(again, first, atol=1e-4, rtol=0)
    assert torch.equal(again, first) or not decoder.in_parts
    with pytest.raises(ValueError, match="cannot go back to 7"):
        cache.rewind(7)
