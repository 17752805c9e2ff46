"""The same model on an NVIDIA GPU; skipped where there is none."""

import numpy as np
import pytest
import torch

from gpt2 import fast
from gpt2.engine import Engine, Request, Sampling
from gpt2.fast.gpu import GraphDecoder
from gpt2.generate import generate
from gpt2.model import GPT2, init_weights
from gpt2.training.losses import compiled_chunk, head_loss, low_precision
from gpt2.training.trainer import Trainer, TrainSettings

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load("mini", "mini-agnews", device="auto")


def last(traces):
    *_, trace = traces
    return trace


def test_auto_takes_the_gpu_in_bfloat16(engine):
    assert engine.library.device.type == "cuda"
    assert engine.library.dtype == torch.bfloat16
    assert engine.describe()["device"] == "cuda"


def test_float32_on_the_gpu_writes_what_float32_on_the_cpu_writes():
    request = Request("The president said on Tuesday that", 40, Sampling(temperature=0))
    on_gpu = last(Engine.load(device="cuda", dtype="float32").generate(request))
    on_cpu = last(Engine.load(device="cpu", dtype="float32").generate(request))
    assert on_gpu.ids == on_cpu.ids
    gaps = [abs(a.logprob - b.logprob) for a, b in zip(on_gpu.steps, on_cpu.steps, strict=True)]
    assert max(gaps) < 1e-3


def test_bfloat16_logits_are_near_float32_ones(engine):
    low = engine.library.get("mini").backbone
    exact = Engine.load(device="cuda", dtype="float32").library.get("mini").backbone
    ids = torch.randint(0, 50257, (1, 200), device="cuda")
    with torch.inference_mode():
        gap = (low(ids).float().log_softmax(-1) - exact(ids).log_softmax(-1)).abs()
    assert gap.mean() < 0.05


def test_a_seed_gives_the_same_text_twice(engine):
    request = Request("The city of Vienna is", 40, Sampling(seed=7))
    first, second = last(engine.generate(request)), last(engine.generate(request))
    assert first.ids == second.ids
    assert first.completion


def test_cached_decode_equals_a_replay(make_model, tiny_config):
    model = make_model(tiny_config).cuda()
    steps = list(generate(model, [1, 2, 3], Sampling(seed=1), max_new_tokens=12, eos=-1))
    ids = torch.tensor([[1, 2, 3, *(step.id for step in steps)]], device="cuda")
    with torch.inference_mode():
        logprobs = model(ids)[0].float().log_softmax(-1)
    for place, step in enumerate(steps, start=2):
        assert abs(float(logprobs[place, step.id]) - step.logprob) < 1e-4


def written(decoder, prompts, samplings, count):
    """Texts written together, and the steps of each."""
    seen = [list(prompt) for prompt in prompts]
    caches = [decoder.cache(len(prompt) + count) for prompt in prompts]
    steps = [[] for _ in prompts]
    for _ in range(count):
        feeds = [fast.Feed(c, ids[c.length :]) for c, ids in zip(caches, seen, strict=True)]
        logits = decoder.read(feeds)
        draws = [fast.Draw(s, ids) for s, ids in zip(samplings, seen, strict=True)]
        for i, step in enumerate(decoder.choose(logits, draws)):
            steps[i].append(step)
            seen[i].append(step.id)
    return steps


@pytest.fixture(scope="module")
def decoder(engine) -> GraphDecoder:
    found = fast.decoder(engine.library.get("mini").backbone)
    assert isinstance(found, GraphDecoder)
    assert found.rows == 64
    return found


def test_texts_written_together_are_those_written_alone(decoder):
    """In bfloat16, across the lengths at which another graph is replayed, to the last bit."""
    random = np.random.default_rng(0)
    prompts = [random.integers(50257, size=n).tolist() for n in random.integers(1, 250, size=70)]
    samplings = [
        Sampling(
            seed=seed,
            temperature=[0.0, 0.8, 1.2][seed % 3],
            top_k=[50, 0][seed % 2],
            top_p=[1.0, 0.9][seed % 5 == 1],
            repetition_penalty=[1.0, 1.2][seed % 7 == 1],
        )
        for seed in range(len(prompts))
    ]
    together = written(decoder, prompts, samplings, 40)
    for i in (0, 1, 5, 8, 63, 69):
        assert written(decoder, prompts[i : i + 1], samplings[i : i + 1], 40)[0] == together[i]


def test_a_captured_step_in_float32_writes_what_generate_writes(make_model, tiny_config):
    model = make_model(tiny_config).cuda()
    sampling = Sampling(seed=1)
    (steps,) = written(GraphDecoder(model, rows=8), [[1, 2, 3]], [sampling], 20)
    plain = list(generate(model, [1, 2, 3], sampling, max_new_tokens=20, eos=-1))
    assert [step.id for step in steps] == [step.id for step in plain]


def test_bfloat16_steps_are_near_the_logits_of_one_pass(decoder):
    prompt = np.random.default_rng(1).integers(50257, size=100).tolist()
    (steps,) = written(decoder, [prompt], [Sampling(temperature=0)], 60)
    ids = torch.tensor([[*prompt, *(step.id for step in steps)]], device="cuda")
    with torch.inference_mode():
        logprobs = decoder.model(ids)[0].float().log_softmax(-1)
    gaps = [
        abs(float(logprobs[place, step.id]) - step.logprob)
        for place, step in enumerate(steps, start=len(prompt) - 1)
    ]
    assert np.mean(gaps) < 0.1


def test_a_decoder_that_is_gone_gives_its_memory_back(engine):
    before = torch.cuda.memory_allocated()
    decoder = fast.decoder(engine.library.get("mini").backbone)
    written(decoder, [[1, 2, 3]], [Sampling()], 3)
    assert torch.cuda.memory_allocated() > before + 500e6
    del decoder
    assert torch.cuda.memory_allocated() < before + 150e6  # a stream's workspaces stay


def test_attention_and_topics_come_back_as_numpy(engine):
    ids = engine.catalog.encode("Oil prices rose on Monday.", model="mini")
    maps = engine.inspector.attention(ids, 0, model="mini")
    assert isinstance(maps, np.ndarray)
    assert np.allclose(maps.sum(-1), 1, atol=1e-3)
    verdict = engine.inspector.classify(
        "The striker scored twice in the last ten minutes of the final."
    )
    assert verdict.label == "Sports"


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
def test_the_compiled_head_loss_equals_cross_entropy():
    torch.manual_seed(0)
    hidden = torch.randn(4, 64, 64, device="cuda", requires_grad=True)
    weight = torch.randn(1001, 64, device="cuda", requires_grad=True)
    targets = torch.randint(0, 1001, (4, 64), device="cuda")
    ours = head_loss(hidden, weight, targets, chunk_size=128, compute=compiled_chunk())
    ours.backward()
    found = hidden.grad.clone(), weight.grad.clone()
    hidden.grad = weight.grad = None
    logits = hidden @ weight.t()
    theirs = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    theirs.backward()
    assert abs(float(ours - theirs)) < 1e-3
    for gradient, wanted in zip(found, (hidden.grad, weight.grad), strict=True):
        assert (gradient - wanted).abs().max() < 1e-3 * wanted.abs().max() + 1e-5


def test_training_on_the_gpu_lowers_the_loss(tiny_config):
    torch.manual_seed(0)
    model = GPT2(tiny_config).cuda()
    init_weights(model, seed=0)
    ids = torch.randint(0, tiny_config.vocab_size, (4, 17), device="cuda")

    def loss(_):
        with low_precision(ids.device):
            hidden = model.hidden(ids[:, :-1])
        return head_loss(hidden.bfloat16(), model.wte.weight, ids[:, 1:])

    trainer = Trainer(model, TrainSettings(steps=30, lr=1e-2))
    losses = [report.loss for report in trainer.run(loss)]
    assert losses[-1] < 0.5 * losses[0]
