"""What a GPU runs as captured graphs; on the CPU the same work is run as it is.

Once more on the CPU it is recorded, operation by operation, and replayed on the very tensors that
were there, as a graph does: what changes from step to step and is not in a buffer would be seen.
"""

import gc
import random

import pytest
import torch
from test_decoder import PROMPTS, SAMPLINGS, write
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gpt2.config import GPT2Config
from gpt2.fast import Draw, Feed
from gpt2.fast.batch_sampling import SETTINGS, choose_rows
from gpt2.fast.gpu import GraphDecoder, bucket
from gpt2.generate import generate
from gpt2.model import GPT2
from gpt2.sampling import Sampling

ROWS = 8


class Recorder(TorchDispatchMode):
    """Writes down each operation and the tensors that it reads and makes."""

    def __init__(self):
        super().__init__()
        self.tape = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        made = operation(*args, **(kwargs or {}))
        self.tape.append((operation, args, kwargs or {}, made))
        return made


class ReplayedGraphs:
    """gpt2.fast.gpu.Graphs, of recordings."""

    def __init__(self, device):
        self.tapes = {}

    def run(self, key, work):
        if key not in self.tapes:
            work()
            with Recorder() as recorder:
                work()
            self.tapes[key] = recorder.tape
        for operation, args, kwargs, made in self.tapes[key]:
            again = operation(*args, **kwargs)
            for old, new in zip(tree_leaves(made), tree_leaves(again), strict=True):
                if old.data_ptr() != new.data_ptr():  # else a view, or done in place
                    old.copy_(new)


recorded = pytest.mark.skipif(
    torch.__version__ < (2, 5), reason="torch 2.4 can't record what runs in inference mode"
)


@pytest.fixture(
    params=[
        "cpu",
        pytest.param("replayed", marks=recorded),
        pytest.param("cuda", marks=pytest.mark.gpu),
    ]
)
def decoder(request, tiny_model, monkeypatch):
    device = request.param
    if device == "replayed":
        monkeypatch.setattr("gpt2.fast.gpu.Graphs", ReplayedGraphs)
        device = "cpu"
    return GraphDecoder(tiny_model.to(device), rows=ROWS)


def read_one(decoder, cache, token):
    return decoder.read([Feed(cache, [token])])[0]


def same_as_generate(decoder, prompt, sampling, steps):
    plain = list(generate(decoder.model, prompt, sampling, max_new_tokens=len(steps), eos=-1))
    assert [step.id for step in steps] == [step.id for step in plain]
    for step, expected in zip(steps, plain, strict=True):
        assert step.rank == expected.rank
        assert step.top_ids == expected.top_ids
        for name in ("logprob", "entropy", "sampled_prob", "top_probs", "top_sampled_probs"):
            assert getattr(step, name) == pytest.approx(getattr(expected, name), abs=1e-4)


def test_together_is_as_alone(decoder):
    together = write(decoder, PROMPTS, SAMPLINGS, 12)
    for i, (prompt, sampling) in enumerate(zip(PROMPTS, SAMPLINGS, strict=True)):
        assert write(decoder, [prompt], [sampling], 12)[0] == together[i]


def test_the_text_is_that_of_generate(decoder):
    for steps, prompt, sampling in zip(
        write(decoder, PROMPTS, SAMPLINGS, 12), PROMPTS, SAMPLINGS, strict=True
    ):
        same_as_generate(decoder, prompt, sampling, steps)


def test_to_the_end_of_the_context(decoder):
    (steps,) = write(decoder, [[5, 7]], [SAMPLINGS[1]], 22)
    same_as_generate(decoder, [5, 7], SAMPLINGS[1], steps)


def test_texts_that_come_and_go(decoder):
    """Each is what it is alone, wherever the others begin and end, with more of them than rows."""
    rng = random.Random(3)
    waiting = [
        ([rng.randrange(97) for _ in range(rng.randint(1, 9))], rng.choice(SAMPLINGS))
        for _ in range(30)
    ]
    running, done = [], []
    while waiting or running:
        while waiting and len(running) < rng.randint(1, ROWS + 3):
            prompt, sampling = waiting.pop()
            running.append((prompt, sampling, decoder.cache(24), list(prompt), []))
        part = rng.sample(running, rng.randint(1, len(running)))  # some wait
        feeds = [Feed(cache, seen[cache.length :]) for _, _, cache, seen, _ in part]
        logits = decoder.read(feeds)
        draws = [Draw(sampling, list(seen)) for _, sampling, _, seen, _ in part]
        for text, step in zip(part, decoder.choose(logits, draws), strict=True):
            text[3].append(step.id)
            text[4].append(step)
            if len(text[3]) == 24 or rng.random() < 0.1:
                running.remove(text)
                done.append((text[0], text[1], text[4]))
    assert len(done) == 30
    for prompt, sampling, steps in done:
        alone = GraphDecoder(decoder.model, rows=ROWS)
        assert write(alone, [prompt], [sampling], len(steps)) == [steps]


def test_a_long_text_beside_changes_nothing(decoder, make_model):
    """Attention then reads more positions, and another graph is replayed."""
    config = GPT2Config(vocab_size=97, n_ctx=300, n_embd=64, n_layer=2, n_head=2)
    decoder = GraphDecoder(make_model(config).to(decoder.model.device), rows=ROWS)
    prompts = [[5, 7, 9], [3] * 110, [*range(97), *range(97), *range(60)]]
    together = write(decoder, prompts, SAMPLINGS, 30)
    for i, (prompt, sampling) in enumerate(zip(prompts, SAMPLINGS, strict=True)):
        assert write(decoder, [prompt], [sampling], 30)[0] == together[i]


def test_a_copy_goes_on_where_the_text_was(decoder):
    cache = decoder.cache(10)
    decoder.read([Feed(cache, [5, 7, 9])])
    read_one(decoder, cache, 2)
    copied = cache.copy(3, capacity=6)
    expected = read_one(decoder, cache, 4)
    read_one(decoder, copied, 2)
    assert torch.equal(read_one(decoder, copied, 4), expected)
    assert copied.capacity == 6
    with pytest.raises(ValueError, match="7 do not fit"):
        [read_one(decoder, copied, 1) for _ in range(2)]


def test_a_text_that_waited_is_read_on_from_outside_the_slots(decoder):
    first = decoder.cache(10)
    decoder.read([Feed(first, [5, 7, 9])])
    read_one(decoder, first, 2)
    kept = first.copy(4, capacity=10)
    others = [decoder.cache(24) for _ in range(ROWS)]
    for cache in others:
        decoder.read([Feed(cache, [1, 2])])
    decoder.read([Feed(cache, [3]) for cache in others])  # all slots are theirs
    assert torch.equal(read_one(decoder, first, 4), read_one(decoder, kept, 4))


def test_a_slot_with_numbers_gone_bad_harms_no_later_text(decoder):
    bad = decoder.cache(24)
    decoder.read([Feed(bad, [1, 2])])
    read_one(decoder, bad, 3)
    bad.keys.fill_(float("nan"))
    bad.values.fill_(float("nan"))
    del bad
    gc.collect()
    (steps,) = write(decoder, PROMPTS[:1], SAMPLINGS[:1], 4)
    same_as_generate(decoder, PROMPTS[0], SAMPLINGS[0], steps)


def test_the_logits_after_each_of_a_prompts_tokens(decoder):
    logits = decoder.read([Feed(decoder.cache(5), [5, 7, 9], wanted=3)])
    with torch.inference_mode():
        expected = decoder.model(torch.tensor([[5, 7, 9]], device=decoder.model.device))[0]
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def test_the_final_norms_output(decoder):
    cache = decoder.cache(5)
    hidden = decoder.hidden([Feed(cache, [5, 7, 9], wanted=2), Feed(decoder.cache(1), [5])])
    after = decoder.hidden([Feed(cache, [3])])
    with torch.inference_mode():
        expected = decoder.model.hidden(torch.tensor([[5, 7, 9, 3]], device=hidden.device))[0]
        (one,) = decoder.model.hidden(torch.tensor([[5]], device=hidden.device))
    torch.testing.assert_close(hidden, torch.cat([expected[1:3], one]), atol=1e-4, rtol=0)
    torch.testing.assert_close(after, expected[3:], atol=1e-4, rtol=0)


def test_only_the_wanted_logits_come(decoder):
    one, two = decoder.cache(4), decoder.cache(4)
    decoder.read([Feed(one, [5, 7]), Feed(two, [1, 2], wanted=0)])
    logits = decoder.read([Feed(one, [9], wanted=0), Feed(two, [3])])
    assert logits.shape == (1, 97)
    assert (one.length, two.length) == (3, 3)


def test_what_does_not_fit_changes_nothing(decoder):
    one, full = decoder.cache(4), decoder.cache(2)
    decoder.read([Feed(one, [5, 7]), Feed(full, [1, 2])])
    with pytest.raises(ValueError, match="the cache holds 2 tokens; 3 do not fit"):
        decoder.read([Feed(one, [9]), Feed(full, [3])])
    with pytest.raises(ValueError, match="2 tokens at once on a cache that holds 2"):
        decoder.read([Feed(one, [9, 9])])
    assert (one.length, full.length) == (2, 2)


def test_logits_outlive_the_next_step(decoder):
    cache = decoder.cache(5)
    decoder.read([Feed(cache, [5, 7])])
    logits = decoder.read([Feed(cache, [9])])
    before = logits.clone()
    decoder.read([Feed(cache, [1])])
    assert torch.equal(logits, before)


def test_settings_of_an_earlier_step_are_forgotten(decoder):
    """Three rows are chosen for among four; the fourth asked for more tokens to be sorted."""
    logits = torch.randn(4, 97, generator=torch.Generator().manual_seed(0))
    logits = logits.to(decoder.model.device)
    wide, narrow = Draw(Sampling(top_k=90), [1]), Draw(Sampling(top_k=20), [1])
    decoder.choose(logits, [wide] * 4)
    expected = [decoder.choose(row[None], [narrow])[0] for row in logits[:3]]
    assert decoder.choose(logits[:3], [narrow] * 3) == expected


def test_logits_that_are_not_numbers(decoder):
    logits = torch.zeros(2, 97, device=decoder.model.device)
    logits[1, 3] = float("nan")
    with pytest.raises(FloatingPointError, match="not numbers"):
        decoder.choose(logits, [Draw(Sampling(), [1])] * 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_together_is_as_alone(decoder, dtype):
    half = GraphDecoder(decoder.model.to(dtype), rows=ROWS)
    together = write(half, PROMPTS, SAMPLINGS, 12)
    for i, (prompt, sampling) in enumerate(zip(PROMPTS, SAMPLINGS, strict=True)):
        assert write(half, [prompt], [sampling], 12)[0] == together[i]


def test_a_step_is_put_together_without_a_look_at_its_numbers(tiny_config):
    """Else it could not be captured: where there are no numbers, looking at one is an error."""
    with torch.device("meta"):
        decoder = GraphDecoder(GPT2(tiny_config).eval(), rows=ROWS)
        cache = decoder.cache(3)
        logits = decoder.read([Feed(cache, [5, 7]), Feed(decoder.cache(1), [5])])
        assert decoder.read([Feed(cache, [9])]).shape == (1, 97)
        settings, seen = torch.empty(2, SETTINGS), torch.empty(2, 24, dtype=torch.long)
        for width in (0, 64, 97):
            numbers = choose_rows(logits, settings, seen, vocab_size=97, width=width)
            assert len(numbers) == 2


def test_buckets():
    sizes = [bucket(count, least=1, most=64) for count in (1, 2, 3, 8, 9, 33, 64)]
    assert sizes == [1, 2, 4, 8, 16, 64, 64]
    assert [bucket(n, least=128, most=1000) for n in (1, 128, 129, 600)] == [128, 128, 256, 1000]
