"""gpt2.model against an independent NumPy GPT-2, and the attention pattern against the model."""

from dataclasses import replace

import numpy as np
import openai_files
import pytest
import reference
import torch
from torch.nn import functional as F

from gpt2 import model as model_module
from gpt2 import weights
from gpt2.cache import KVCache
from gpt2.config import SIZES, GPT2Config
from gpt2.model import GPT2, init_weights, parameter_count

TOLERANCE = 1e-4  # float32 against float64, logits of size about 5
IDS = [5, 17, 0, 96, 17, 17, 3, 42, 88, 61, 5, 30]


@torch.no_grad()
def off_by(model, *, variables=None, n_head=None):
    """Largest difference of a model's logits from the reference's."""
    expected = reference.forward(
        variables or openai_files.variables_of(model), IDS, n_head=n_head or model.config.n_head
    )
    return float(np.abs(model(torch.tensor([IDS]))[0].numpy() - expected.logits).max())


# --- against the reference -------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (3, 4), (2, 32)])
def test_logits_equal_the_numpy_reference(make_model, seed, layers, heads):
    config = GPT2Config(vocab_size=97, n_ctx=24, n_embd=32, n_layer=layers, n_head=heads)
    assert off_by(make_model(config, seed=seed)) < TOLERANCE


def test_a_model_built_from_openai_variables_gives_the_reference_logits(tiny_config):
    rng = np.random.default_rng(8)
    like = openai_files.variables_of(GPT2(tiny_config))
    variables = {
        name: (0.3 * rng.standard_normal(value.shape) + name.endswith("/g")).astype(np.float32)
        for name, value in like.items()
    }
    assert variables["model/h2/mlp/c_fc/w"].shape == (1, 32, 128)  # OpenAI's layout
    assert off_by(openai_files.model_of(variables, tiny_config), variables=variables) < TOLERANCE


@torch.no_grad()
def test_every_layers_stream_equals_the_reference(tiny_model):
    expected = reference.forward(openai_files.variables_of(tiny_model), IDS, n_head=4).hidden
    stream = [tiny_model.embed(torch.tensor([IDS]))]
    for block in tiny_model.h:
        stream.append(block(stream[-1]))
    stream.append(tiny_model.ln_f(stream[-1]))
    for ours, theirs in zip(stream, expected, strict=True):
        np.testing.assert_allclose(ours[0].numpy(), theirs, atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_every_layers_pattern_equals_the_reference(tiny_model):
    expected = reference.forward(openai_files.variables_of(tiny_model), IDS, n_head=4).patterns
    for block, x, theirs in zip(tiny_model.h, streams(tiny_model, IDS), expected, strict=True):
        ours = block.attn.pattern(block.ln_1(x))[0].numpy()
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)


def test_the_shipped_model_gives_the_reference_logits(vocabulary, tokenizer):
    if not (vocabulary / weights.WEIGHTS_FILE).is_file():
        pytest.skip("checkpoints/mini has no model.safetensors yet")
    model = weights.load_language_model(vocabulary)
    ids = tokenizer.encode("The old man looked at the sea and said nothing.")
    expected = reference.forward(
        openai_files.variables_of(model), ids, n_head=model.config.n_head
    ).logits
    with torch.no_grad():
        ours = model(torch.tensor([ids]))[0].numpy()
    np.testing.assert_allclose(ours, expected, atol=TOLERANCE, rtol=0)


# --- the comparison can fail: each way to get GPT-2 wrong shows ------------------------------


def attention_without_causality(q, k, v, *, is_causal):
    return (q @ k.transpose(-2, -1) / q.size(-1) ** 0.5).softmax(-1) @ v


def attention_without_scale(q, k, v, *, is_causal):
    future = torch.ones(q.size(-2), k.size(-2), dtype=torch.bool).triu(1)
    return (q @ k.transpose(-2, -1)).masked_fill(future, float("-inf")).softmax(-1) @ v


def post_norm_block(self, x, cache=None):
    x = self.ln_1(x + self.attn(x, cache))
    return self.ln_2(x + self.mlp(x))


def parallel_block(self, x, cache=None):
    return x + self.attn(self.ln_1(x), cache) + self.mlp(self.ln_2(x))


def no_residual_block(self, x, cache=None):
    x = self.attn(self.ln_1(x), cache)
    return x + self.mlp(self.ln_2(x))


def keys_before_queries(self, x):
    B, T, C = x.shape
    k, q, v = self.c_attn(x).view(B, T, 3, self.n_head, C // self.n_head).unbind(2)
    return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)


def interleaved_heads(self, x):
    B, T, C = x.shape
    q, k, v = self.c_attn(x).view(B, T, 3, C // self.n_head, self.n_head).unbind(2)
    return q.permute(0, 3, 1, 2), k.permute(0, 3, 1, 2), v.permute(0, 3, 1, 2)


def sample_variance(self, x):
    variance, mean = torch.var_mean(x, dim=-1, correction=1, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias


def positions_from_one(self, ids, *, start=0):
    return self.wte(ids) + self.wpe(torch.arange(1, ids.size(1) + 1))


MUTATIONS = {
    "the exact erf GELU": (model_module, "gelu", F.gelu),
    "ReLU": (model_module, "gelu", F.relu),
    "attention to the future": (
        model_module.F,
        "scaled_dot_product_attention",
        attention_without_causality,
    ),
    "scores not divided by sqrt(D)": (
        model_module.F,
        "scaled_dot_product_attention",
        attention_without_scale,
    ),
    "normalising after the branch": (model_module.Block, "forward", post_norm_block),
    "attention and MLP side by side": (model_module.Block, "forward", parallel_block),
    "no residual around attention": (model_module.Block, "forward", no_residual_block),
    "keys and queries swapped": (
        model_module.CausalSelfAttention,
        "qkv",
        keys_before_queries,
    ),
    "heads interleaved": (model_module.CausalSelfAttention, "qkv", interleaved_heads),
    "sample variance": (model_module.LayerNorm, "forward", sample_variance),
    "positions from 1": (model_module.GPT2, "embed", positions_from_one),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_comparison_notices(monkeypatch, tiny_model, name):
    assert off_by(tiny_model) < TOLERANCE
    monkeypatch.setattr(*MUTATIONS[name])
    assert off_by(tiny_model) > 2 * TOLERANCE


@pytest.mark.parametrize("eps", [1e-6, 1e-3])
def test_the_comparison_notices_another_epsilon(tiny_config, make_model, eps):
    model = make_model(replace(tiny_config, layer_norm_epsilon=eps))
    assert off_by(model) > 2 * TOLERANCE


@pytest.mark.parametrize(
    "name", ["h.0.attn.c_proj.weight", "h.2.attn.c_proj.weight"]
)  # square: a transpose left out changes no shape
@torch.no_grad()
def test_the_comparison_notices_a_transpose_left_out(tiny_model, name):
    variables = {key: value.copy() for key, value in openai_files.variables_of(tiny_model).items()}
    tiny_model.get_parameter(name).copy_(tiny_model.get_parameter(name).t().clone())
    assert off_by(tiny_model, variables=variables) > 2 * TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize(
    "name",
    [
        "wpe.weight",
        "h.0.ln_1.weight",
        "h.0.ln_1.bias",
        "h.1.attn.c_attn.bias",
        "h.1.attn.c_proj.bias",
        "h.1.ln_2.bias",
        "h.2.mlp.c_fc.bias",
        "h.2.mlp.c_proj.bias",
        "ln_f.weight",
        "ln_f.bias",
    ],
)
def test_the_comparison_notices_a_parameter_left_out(tiny_model, name):
    variables = {key: value.copy() for key, value in openai_files.variables_of(tiny_model).items()}
    parameter = tiny_model.get_parameter(name)
    parameter.fill_(float(parameter.dim() == 1 and name.endswith("weight")))
    assert off_by(tiny_model, variables=variables) > 2 * TOLERANCE


def test_the_comparison_notices_another_number_of_heads(tiny_model):
    assert off_by(tiny_model, n_head=8) > 2 * TOLERANCE


# --- the attention pattern -------------------------------------------------------------------


@torch.no_grad()
def streams(model, ids):
    """Input of every block."""
    x = model.embed(torch.tensor([ids]))
    for block in model.h:
        yield x
        x = block(x)


@torch.no_grad()
def test_pattern_times_values_mixed_is_forward(tiny_model):
    for block, stream in zip(tiny_model.h, streams(tiny_model, IDS), strict=True):
        attn, x = block.attn, block.ln_1(stream)
        _, _, v = attn.qkv(x)
        shown = attn.mix(attn.pattern(x) @ v)
        torch.testing.assert_close(shown, attn(x), atol=1e-5, rtol=0)


@torch.no_grad()
def test_rows_of_a_pattern_are_distributions_over_the_past(tiny_model):
    for block, stream in zip(tiny_model.h, streams(tiny_model, IDS), strict=True):
        pattern = block.attn.pattern(block.ln_1(stream))
        assert pattern.shape == (1, 4, len(IDS), len(IDS))
        assert pattern.dtype == torch.float32
        assert (pattern.triu(1) == 0).all()
        assert (pattern.tril() >= 0).all()
        ones = torch.ones(1, 4, len(IDS))
        torch.testing.assert_close(pattern.sum(-1), ones, atol=1e-6, rtol=0)


@torch.no_grad()
def test_row_t_of_a_replay_is_the_attention_of_decode_step_t(monkeypatch, tiny_config, tiny_model):
    seen = []

    def spy(q, k, v, *, is_causal):
        scores = q @ k.transpose(-2, -1) / q.size(-1) ** 0.5
        seen.append(scores.softmax(-1))  # one query, so all keys are its past
        return seen[-1] @ v

    replay = [
        block.attn.pattern(block.ln_1(x))
        for block, x in zip(tiny_model.h, streams(tiny_model, IDS), strict=True)
    ]
    monkeypatch.setattr(model_module.F, "scaled_dot_product_attention", spy)
    cache = KVCache(tiny_config, len(IDS), device=torch.device("cpu"), dtype=torch.float32)
    for t, token in enumerate(IDS):
        seen.clear()
        tiny_model.hidden(torch.tensor([[token]]), cache)
        for layer, row in enumerate(seen):
            expected = replay[layer][:, :, t : t + 1, : t + 1]
            torch.testing.assert_close(row, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_pattern_of_a_bfloat16_model_is_float32_and_sums_to_one(tiny_model):
    attn = tiny_model.bfloat16().h[0].attn
    x = torch.randn(1, 6, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    pattern = attn.pattern(x)
    assert pattern.dtype == torch.float32
    torch.testing.assert_close(pattern.sum(-1), torch.ones(1, 4, 6), atol=1e-6, rtol=0)


# --- causality and limits --------------------------------------------------------------------


@torch.no_grad()
def test_no_logit_depends_on_a_later_token(tiny_model):
    full = tiny_model(torch.tensor([IDS]))
    for t in range(1, len(IDS)):
        changed = IDS[:t] + [(token + 1) % 97 for token in IDS[t:]]
        same = tiny_model(torch.tensor([changed]))[:, :t]
        torch.testing.assert_close(same, full[:, :t], atol=1e-6, rtol=0)


@torch.no_grad()
def test_the_rows_of_a_batch_do_not_see_each_other(tiny_model):
    batch = tiny_model(torch.tensor([IDS, IDS[::-1]]))
    torch.testing.assert_close(batch[:1], tiny_model(torch.tensor([IDS])), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_full_context_is_read_and_one_token_more_is_refused(tiny_model):
    assert tiny_model(torch.zeros(1, 24, dtype=torch.long)).shape == (1, 24, 97)
    with pytest.raises(ValueError, match="25 tokens; the context holds 24"):
        tiny_model(torch.zeros(1, 25, dtype=torch.long))


# --- parameters ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "parameters", "variables"),
    [
        ("124M", 124_439_808, 148),
        ("355M", 354_823_168, 292),
        ("774M", 774_030_080, 436),
        ("1558M", 1_557_611_200, 580),
    ],
)
def test_the_four_sizes_have_openais_parameters_to_the_last_one(size, parameters, variables):
    assert parameter_count(SIZES[size]) == parameters
    assert len(weights.tf_names(SIZES[size].n_layer)) == variables


def test_the_head_is_no_second_parameter(tiny_model):
    names = [name for name, _ in tiny_model.named_parameters()]
    assert len(names) == 12 * 3 + 4
    assert not any("head" in name for name in names)


@torch.no_grad()
def test_fresh_weights_have_gpt2s_spread():
    config = GPT2Config(vocab_size=2000, n_ctx=512, n_embd=128, n_layer=8, n_head=4)
    model = GPT2(config)
    init_weights(model, seed=1)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            gain = "ln_" in name and name.endswith("weight")
            assert (parameter == float(gain)).all(), name
            continue
        std = 0.01 if name.startswith("wpe") else 0.02
        std /= (2 * 8) ** 0.5 if name.endswith("c_proj.weight") else 1
        assert float(parameter.std()) == pytest.approx(std, rel=0.03), name
        assert abs(float(parameter.mean())) < std / 20, name


def test_fresh_weights_are_a_function_of_the_seed(tiny_config):
    models = [GPT2(tiny_config) for _ in range(3)]
    for model, seed in zip(models, (7, 7, 8), strict=True):
        init_weights(model, seed=seed)
    one, same, other = (torch.cat([p.flatten() for p in m.parameters()]) for m in models)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_dropout_acts_while_training_only(tiny_config):
    model = GPT2(replace(tiny_config, dropout=0.5))
    init_weights(model, seed=0)
    ids = torch.tensor([IDS])
    torch.manual_seed(0)
    assert not torch.equal(model.train()(ids), model(ids))
    assert torch.equal(model.eval()(ids), model(ids))
