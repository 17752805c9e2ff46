"""gpt2.lens.scaling and ablation: 1 is the model, 0 is transformers with the part removed."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt2 import lens, weights
from gpt2.cache import KVCache
from gpt2.generate import generate
from gpt2.lens import Reading, Scales, scaled_model
from gpt2.lens.blocks import rerun
from gpt2.sampling import Sampling

TOLERANCE = 1e-4
IDS = [5, 17, 0, 96, 17, 17, 3, 42, 88, 61, 5, 30]
LIVELY = Sampling(temperature=3.0, top_k=0, repetition_penalty=1.2, seed=11)


@pytest.fixture(scope="module")
def pair(tmp_path_factory, make_model, tiny_config, vocabulary):
    model, path = make_model(tiny_config, seed=5), tmp_path_factory.mktemp("hf") / "model"
    weights.save(model, path, vocabulary=vocabulary)
    return model, GPT2LMHeadModel.from_pretrained(path, attn_implementation="eager").eval()


@contextmanager
def scaled_transformers(theirs, *, heads=(), mlps=(), layers=()):
    """Its modules with hooks: each head's slice of c_proj's input, each sublayer's output."""
    hooks, width = [], theirs.config.n_embd // theirs.config.n_head

    def slices(head, value):
        def change(_, inputs):
            x = inputs[0].clone()
            x[..., head * width : (head + 1) * width] *= value
            return (x, *inputs[1:])

        return change

    def whole(value):
        def change(_, inputs, output):
            return (output[0] * value, *output[1:]) if isinstance(output, tuple) else output * value

        return change

    h = theirs.transformer.h
    for (layer, head), value in dict(heads).items():
        hooks.append(h[layer].attn.c_proj.register_forward_pre_hook(slices(head, value)))
    for layer, value in dict(mlps).items():
        hooks.append(h[layer].mlp.register_forward_hook(whole(value)))
    for layer, value in dict(layers).items():
        hooks.append(h[layer].mlp.register_forward_hook(whole(value)))
        hooks.append(h[layer].attn.register_forward_hook(whole(value)))
    yield theirs
    for hook in hooks:
        hook.remove()


def logits_of(model, ids):
    with torch.inference_mode():
        return model.logits(model.hidden(torch.tensor([ids])))[0]


# --- scales ----------------------------------------------------------------------------------


def test_scales_of_1_are_the_model_bit_by_bit(pair):
    model = pair[0]
    neutral = Scales.of(model.config)
    assert neutral == Scales.of(model.config, heads={(1, 2): 1})
    assert torch.equal(logits_of(scaled_model(model, neutral), IDS), logits_of(model, IDS))
    plain, viewed = (
        list(generate(view, IDS[:4], LIVELY, max_new_tokens=20, eos=-1))
        for view in (model, scaled_model(model, neutral))
    )
    assert plain == viewed


@pytest.mark.parametrize(
    "changed",
    [
        {"heads": {(0, 0): 0}},
        {"heads": {(2, 3): 0}},
        {"heads": {(0, 1): 0, (1, 0): 2, (1, 3): 0.3}},
        {"heads": {(layer, head): 0 for layer in range(3) for head in range(4)}},
        {"mlps": {1: 0}},
        {"mlps": {0: 0.5, 2: 2}},
        {"layers": {1: 0}},
        {"layers": {0: 1.5, 2: 0.2}},
        {"heads": {(1, 1): 0}, "mlps": {1: 1.7}, "layers": {2: 0, 0: 0.9}},
    ],
)
def test_scaled_parts_equal_transformers_with_hooks(pair, changed):
    model, theirs = pair
    view = scaled_model(model, Scales.of(model.config, **changed))
    with torch.inference_mode(), scaled_transformers(theirs, **changed):
        expected = theirs(torch.tensor([IDS])).logits[0]
    torch.testing.assert_close(logits_of(view, IDS), expected, atol=TOLERANCE, rtol=0)
    assert not torch.allclose(logits_of(model, IDS), expected, atol=1e-2)


def test_a_layer_at_0_is_skipped(pair):
    model = pair[0]
    view = scaled_model(model, Scales.of(model.config, layers={1: 0}))
    with torch.inference_mode():
        x = model.h[2](model.h[0](model.embed(torch.tensor([IDS]))))
        assert torch.equal(logits_of(view, IDS), model.logits(model.ln_f(x))[0])


def test_writing_through_scales_equals_reading_through_them(pair):
    """The cache holds what the scaled blocks left, so each step is what a whole pass says."""
    model = pair[0]
    view = scaled_model(model, Scales.of(model.config, heads={(0, 1): 0, (1, 2): 2}, mlps={1: 0.5}))
    steps = list(generate(view, IDS[:4], LIVELY, max_new_tokens=15, eos=-1))
    ids = IDS[:4] + [step.id for step in steps]
    logprobs = logits_of(view, ids[:-1]).log_softmax(dim=-1)
    for place, step in enumerate(steps, start=3):
        assert step.logprob == pytest.approx(float(logprobs[place, step.id]), abs=TOLERANCE)
    plain = [s.id for s in generate(model, IDS[:4], LIVELY, max_new_tokens=15, eos=-1)]
    assert plain != ids[4:]


def test_the_weights_are_not_changed(pair):
    model = pair[0]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    view = scaled_model(model, Scales.of(model.config, heads={(0, 1): 0}, layers={1: 2}))
    logits_of(view, IDS)
    cache = KVCache(model.config, 12, device=model.device, dtype=model.dtype)
    with torch.inference_mode():
        view.hidden(torch.tensor([IDS]), cache)
    assert cache.length == 12
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"heads": {(0, 0): 2.1}}, "scale of head 0.0 is 2.1; .* must be a number from 0 to 2"),
        ({"heads": {(0, 0): -0.1}}, "scale of head 0.0 is -0.1"),
        ({"mlps": {1: float("nan")}}, "scale of MLP 1 is nan; .* from 0 to 2"),
        ({"layers": {1: None}}, "scale of layer 1 is None"),
        ({"heads": {(3, 0): 0}}, "layer to scale is 3; .* from 0 to 2"),
        ({"heads": {(0, 4): 0}}, "head to scale is 4; .* from 0 to 3"),
        ({"mlps": {-1: 0}}, "layer to scale is -1"),
        ({"layers": {"a": 0}}, "layer to scale is 'a'"),
    ],
)
def test_scales_that_are_none_are_refused(tiny_config, changed, words):
    with pytest.raises(ValueError, match=words):
        Scales.of(tiny_config, **changed)


def test_scales_of_another_model_are_refused(pair):
    with pytest.raises(ValueError, match="for 1 layers of 2 heads; the model has 3 of 4"):
        scaled_model(pair[0], Scales(((1, 1),), (1,), (1,)))
    with pytest.raises(ValueError, match="must be of one model"):
        Scales(((1, 1), (1,)), (1, 1), (1, 1))
    with pytest.raises(ValueError, match="must be of one model"):
        Scales(((1, 1),), (1, 1), (1,))


# --- the map ---------------------------------------------------------------------------------


def test_the_map_is_one_scaled_pass_for_each_part(pair):
    model, index = pair[0], 7
    *_, found = lens.ablation_maps(Reading.of(model, IDS), index, IDS[index])
    before = float(logits_of(model, IDS)[index - 1].log_softmax(dim=-1)[IDS[index]])
    assert found.logprob == pytest.approx(before, abs=1e-5)
    assert found.heads.shape == (3, 4)
    assert found.mlps.shape == (3,)
    for layer in range(3):
        for changed, ours in (
            *(({"heads": {(layer, head): 0}}, found.heads[layer, head]) for head in range(4)),
            ({"mlps": {layer: 0}}, found.mlps[layer]),
        ):
            view = scaled_model(model, Scales.of(model.config, **changed))
            after = logits_of(view, IDS)[index - 1].log_softmax(dim=-1)[IDS[index]]
            assert ours == pytest.approx(float(after) - before, abs=TOLERANCE)
    assert np.abs(found.heads).min() > 1e-4  # in this model every part does something


@pytest.mark.parametrize("index", [1, 12])
def test_the_map_of_the_first_and_of_the_coming_token(pair, index):
    *_, found = lens.ablation_maps(Reading.of(pair[0], IDS), index, 3)
    *_, alone = lens.ablation_maps(Reading.of(pair[0], IDS[:index]), index, 3)
    np.testing.assert_allclose(found.heads, alone.heads, atol=1e-5)


def test_the_map_costs_one_batch_of_the_blocks_after_each_layer(pair):
    """Layer l runs whole for itself, then for its variants those after it; of the last block only
    one token is read."""
    model, seen = pair[0], []
    reading = Reading.of(model, IDS)
    hooks = [
        block.register_forward_pre_hook(lambda _, x, layer=layer: seen.append((layer, x[0].shape)))
        for layer, block in enumerate(model.h)
    ]
    list(lens.ablation_maps(reading, 9, 3))
    for hook in hooks:
        hook.remove()
    assert seen == [(0, (1, 9, 32)), (1, (5, 9, 32)), (1, (1, 9, 32))]


@pytest.mark.parametrize("count", [1, 4, 9])
def test_the_last_tokens_alone_are_the_last_of_all(pair, count):
    x = torch.randn(2, 9, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = pair[0].h[1](x)[:, -count:]
        torch.testing.assert_close(rerun(pair[0].h[1], x, count), whole, atol=1e-5, rtol=1e-5)


def test_a_map_of_nothing_is_refused(pair):
    reading = Reading.of(pair[0], IDS)
    for index in (0, 13):
        with pytest.raises(ValueError, match=f"token {index} has no prediction; choose 1 to 12"):
            next(lens.ablation_maps(reading, index, 3))
    with pytest.raises(ValueError, match="token id 97 is not between 0 and 96"):
        next(lens.ablation_maps(reading, 3, 97))
