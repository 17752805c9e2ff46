"""The same model on an NVIDIA GPU; skipped where there is none."""

import numpy as np
import pytest
import torch

from gpt2.engine import Engine, Request, Sampling
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
