"""gpt2.fast.stored: matrices in few bits, all else in float32."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gpt2 import fast
from gpt2.cache import KVCache
from gpt2.classifier import GPT2Classifier
from gpt2.config import GPT2Config
from gpt2.fast.stored import PART, StoredEmbedding, StoredLinear
from gpt2.generate import generate
from gpt2.lens import Reading, Scales, Target, scaled_model
from gpt2.lens.attribution import gradient_x_input, occlusion
from gpt2.sampling import Sampling

CPU = torch.device("cpu")
TYPES = [torch.bfloat16, torch.int8]
MATRICES = [("attn", "c_attn"), ("attn", "c_proj"), ("mlp", "c_fc"), ("mlp", "c_proj")]
IDS = [5, 17, 0, 96, 17, 3, 42]


def linear(weight, *, bias=True):
    made = nn.Linear(weight.size(1), weight.size(0), bias=bias)
    made.weight.data = weight
    return made


def randn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- a matrix ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (3, 33), (64, 63), (97, 32)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", TYPES)
def test_a_layer_is_linear_with_its_rounded_matrix(shape, bias, dtype):
    plain = linear(randn(*shape), bias=bias)
    ours = StoredLinear(plain, dtype)
    assert ours.stored.shape == ours.weight.shape == shape
    assert ours.stored.dtype == dtype
    assert ours.stored.is_contiguous()
    assert ours.bias is plain.bias
    for x in (randn(shape[1]), randn(1, 1, shape[1]), randn(2, 5, shape[1])):
        found, expected = ours(x), F.linear(x, ours.weight, plain.bias)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        assert found.dtype == torch.float32


def test_a_large_matrix_is_multiplied_in_parts_as_at_once():
    plain = linear(randn(PART // 256 * 2 + 3, 256))  # three parts, the last one of three rows
    ours = StoredLinear(plain, torch.int8)
    x = randn(2, 256, seed=2).requires_grad_()
    upstream = randn(2, len(plain.weight), seed=3)
    found, expected = ours(x), F.linear(x, ours.weight, plain.bias)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    gradients = [torch.autograd.grad(y, x, upstream)[0] for y in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-2, rtol=1e-4)


def test_int8_is_off_by_half_a_step_of_its_row_at_most():
    weight = randn(40, 50) * torch.logspace(-6, 6, 40)[:, None]  # rows of all sizes
    ours = StoredLinear(linear(weight), torch.int8)
    step = weight.abs().amax(dim=1) / 127
    torch.testing.assert_close(ours.scale, step)
    assert ((ours.weight - weight).abs() <= 0.5001 * step[:, None]).all()
    largest = weight.abs().argmax(dim=1, keepdim=True)
    torch.testing.assert_close(ours.weight.gather(1, largest), weight.gather(1, largest))


def test_bfloat16_is_torchs_rounding_and_needs_no_scale():
    tiny = torch.tensor([1e-40, -1e-45, 0.0, -0.0, 1 / 3, 3e38, -3e38])  # subnormals and extremes
    ours = StoredLinear(linear(tiny[None], bias=False), torch.bfloat16)
    assert ours.scale is None
    assert torch.equal(ours.weight[0], tiny.bfloat16().float())
    assert ours.weight[0, 3].signbit()


@pytest.mark.parametrize(
    "row",
    [
        [0.0, 0.0, 0.0],
        [-0.0, 0.0, -0.0],
        [1e-45, -1e-45, 0.0],  # a scale too small to be a number
        [1e-42, -3e-42, 2e-42],  # one of a few bits
        [3e38, -3e38, 1.0],
        [1e30, 1e-30, -1.0],  # an outlier beside which all else is nothing
    ],
)
def test_odd_rows_stay_numbers(row):
    weight = torch.tensor([row, [1.0, 2.0, -3.0]])
    ours = StoredLinear(linear(weight, bias=False), torch.int8)
    found = ours.weight
    assert found.isfinite().all()
    step = max(abs(number) for number in row) / 127
    assert ((found[0] - weight[0]).abs() <= 0.51 * step + 1e-41).all()
    torch.testing.assert_close(found[1], weight[1], atol=0.012, rtol=0)  # its neighbour's scale
    assert ours(torch.ones(1, 3)).isfinite().all() or max(row) > 1e38


def test_a_number_past_bfloat16_is_refused():
    with pytest.raises(ValueError, match="too large for bfloat16; use float32 or int8"):
        StoredLinear(linear(torch.tensor([[3.4028235e38]])), torch.bfloat16)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_matrix_laid_out_in_columns_is_stored_in_rows(dtype):
    plain = linear(randn(32, 20).t())
    assert not plain.weight.is_contiguous()
    ours = StoredLinear(plain, dtype)
    assert ours.stored.is_contiguous()
    torch.testing.assert_close(ours.weight, plain.weight.detach(), atol=0.02, rtol=0.01)


@pytest.mark.parametrize("dtype", TYPES)
def test_an_embedding_gives_rows_of_its_matrix(dtype):
    table = nn.Embedding(97, 8)
    ours = StoredEmbedding(table, dtype)
    ids = torch.tensor([[0, 96, 5], [5, 5, 1]])
    assert torch.equal(ours(ids), ours.weight[ids])
    assert ours(ids[:, :0]).shape == (2, 0, 8)
    with pytest.raises(IndexError):
        ours(torch.tensor([97]))


# --- a model -----------------------------------------------------------------------------------


@pytest.fixture(params=TYPES, ids=str)
def pair(request, make_model, tiny_config):
    """A stored model, and the plain one whose weights are what it stores."""
    source = make_model(tiny_config, seed=5)
    ours = fast.stored(source, request.param)
    plain = make_model(tiny_config, seed=5)
    with torch.no_grad():
        plain.wte.weight.copy_(ours.wte.weight)
        for theirs, block in zip(plain.h, ours.h, strict=True):
            for part, name in MATRICES:
                matrix = getattr(getattr(block, part), name).weight
                getattr(getattr(theirs, part), name).weight.copy_(matrix)
    return ours, plain


def test_a_stored_model_is_the_model_of_its_rounded_matrices(pair):
    ours, plain = pair
    assert (ours.dtype, ours.device, ours.training) == (torch.float32, CPU, False)
    with torch.inference_mode():
        for ids in ([IDS], [IDS[:1]], [IDS, IDS[::-1]]):
            found, expected = (model(torch.tensor(ids)) for model in pair)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    said = [
        [step.id for step in generate(model, IDS, Sampling(seed=3), max_new_tokens=12)]
        for model in (ours, plain)
    ]
    assert said[0] == said[1]


def test_what_is_not_a_matrix_is_shared_and_the_given_model_stays(make_model, tiny_config):
    model = make_model(tiny_config, seed=5)
    before = copy.deepcopy(model)
    ours = fast.stored(model, torch.int8)
    assert ours.wpe is model.wpe
    assert ours.ln_f is model.ln_f
    assert ours.h[0].ln_1.weight is model.h[0].ln_1.weight
    assert ours.h[1].mlp.c_fc.bias is model.h[1].mlp.c_fc.bias
    assert isinstance(model.h[0].attn.c_attn, nn.Linear)
    for name, value in before.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


@pytest.mark.parametrize(("dtype", "size"), [(torch.bfloat16, 2), (torch.int8, 1)])
def test_a_stored_model_takes_less_memory(make_model, dtype, size):
    """Each matrix is there once, the head too."""
    config = GPT2Config(vocab_size=997, n_ctx=8, n_embd=64, n_layer=2, n_head=2)
    model = make_model(config)
    ours = fast.stored(model, dtype)
    kept = sum(tensor.nbytes for tensor in ours.state_dict().values())
    matrices = config.vocab_size * 64 + config.n_layer * 12 * 64 * 64
    rest = sum(p.nbytes for p in model.parameters()) - 4 * matrices
    scales = 4 * (config.vocab_size + config.n_layer * 9 * 64) if dtype == torch.int8 else 0
    assert kept == size * matrices + rest + scales


def test_gradients_reach_the_input_of_a_stored_model(pair):
    gradients = []
    for model in pair:
        x = model.embed(torch.tensor([IDS])).detach().requires_grad_()
        y = nn.Sequential(*model.h)(x)
        model.logits(model.ln_f(y))[0, -1, 3].backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)


def test_the_lens_explains_a_stored_model(pair):
    found = []
    for model in pair:
        target, reading = Target(model, 42, instead_of=3), Reading.of(model, IDS)
        *_, occluded = occlusion(target, reading, len(IDS))
        scaled = scaled_model(model, Scales.of(model.config, heads={(0, 1): 0.0}))
        found.append(
            [
                *(
                    torch.tensor(gradient_x_input(target, IDS).scores),
                    torch.tensor(occluded.scores),
                ),
                torch.tensor(reading.attention(0, weighted=True)),
                *(target.prob(reading.hidden()), Reading.of(scaled, IDS).hidden()),
            ]
        )
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-4)


def test_a_cache_of_a_stored_model_is_in_float32(pair):
    ours, plain = pair
    cache = KVCache(ours.config, 12, device=ours.device, dtype=ours.dtype)
    with torch.inference_mode():
        for ids in ([IDS[:4]], [IDS[4:5]], [IDS[5:6]], [IDS[6:]]):
            hidden = ours.hidden(torch.tensor(ids), cache)
        expected = plain.hidden(torch.tensor([IDS]))[:, -1]
    torch.testing.assert_close(hidden[:, -1], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_classifier_reads_with_a_stored_backbone(make_classifier, dtype):
    labels = ("a", "b", "c")
    config = GPT2Config(vocab_size=97, n_ctx=24, n_embd=32, n_layer=2, n_head=4, labels=labels)
    plain = make_classifier(config)
    backbone = fast.stored(plain.transformer, dtype)
    ours = GPT2Classifier(backbone)
    ours.score = plain.score
    with torch.inference_mode():
        found, expected = (m(torch.tensor([IDS]), torch.tensor([7])) for m in (ours, plain))
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0.1)
    assert not torch.equal(found, expected)


# --- which models are stored -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "device", "read_in"),
    [
        (torch.float32, "cpu", torch.float32),
        (torch.bfloat16, "cpu", torch.float32),
        (torch.int8, "cpu", torch.float32),
        (torch.float16, "cpu", torch.float16),
        (torch.bfloat16, "cuda", torch.bfloat16),
    ],
)
def test_on_a_cpu_few_bits_are_read_in_float32(dtype, device, read_in):
    assert fast.computed_in(dtype, torch.device(device)) == read_in


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_model_of_the_number_type_stays_as_it_is(make_model, tiny_config, dtype):
    model = make_model(tiny_config).to(dtype)
    assert fast.stored(model, dtype) is model
