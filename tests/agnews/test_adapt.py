"""gpt2.agnews.lora: thin matrices that start as nothing, learn, and disappear into the weights."""

import pytest
import torch
from torch import nn

from gpt2.agnews.adapt import LoRALinear, add_lora, merge_lora

IDS = torch.tensor([[5, 17, 0, 96, 17, 3, 42]])


@pytest.fixture
def adapted(tiny_model):
    """A frozen model with adapters, as a fine-tune begins with."""
    tiny_model.requires_grad_(False)
    torch.manual_seed(0)
    add_lora(tiny_model, rank=4, alpha=8.0)
    return tiny_model


def train(model, *, steps=5):
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        model(IDS).square().mean().backward()
        optimizer.step()


@torch.no_grad()
def test_fresh_adapters_change_nothing(tiny_model):
    before = tiny_model(IDS)
    add_lora(tiny_model)
    assert torch.equal(tiny_model(IDS), before)


def test_adapters_stand_beside_all_four_projections_of_every_block(adapted):
    names = [name for name, module in adapted.named_modules() if isinstance(module, LoRALinear)]
    kinds = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert names == [f"h.{layer}.{kind}" for layer in range(3) for kind in kinds]


def test_only_the_adapters_learn(adapted):
    before = {name: value.clone() for name, value in adapted.state_dict().items()}
    train(adapted)
    moved = {name for name, value in adapted.state_dict().items() if (value != before[name]).any()}
    assert moved == {name for name in before if name.endswith((".a", ".b"))}
    assert len(moved) == 2 * 4 * 3


def test_wrapping_freezes_the_wrapped_layer_by_itself(tiny_model):
    add_lora(tiny_model)
    for name, parameter in tiny_model.named_parameters():
        assert parameter.requires_grad == (".frozen." not in name), name


def test_merging_gives_the_same_outputs_with_plain_layers(adapted):
    start = adapted(IDS).detach()
    train(adapted)
    with torch.no_grad():
        learned = adapted(IDS)
        merge_lora(adapted)
        merged = adapted(IDS)
    assert (learned - start).abs().max() > 0.01  # or there was nothing to merge
    tolerance = 1e-5 * float(learned.abs().max())
    torch.testing.assert_close(merged, learned, atol=tolerance, rtol=0)


def test_a_merged_model_has_the_names_it_began_with(tiny_model):
    names, kinds = list(tiny_model.state_dict()), [type(m) for m in tiny_model.modules()]
    add_lora(tiny_model)
    assert list(tiny_model.state_dict()) != names
    merge_lora(tiny_model)
    assert list(tiny_model.state_dict()) == names
    assert [type(m) for m in tiny_model.modules()] == kinds


def test_the_update_is_alpha_over_rank_times_b_a():
    layer = LoRALinear(nn.Linear(6, 5), rank=2, alpha=8.0)
    generator = torch.Generator().manual_seed(1)
    x, b = torch.randn(3, 6, generator=generator), torch.randn(5, 2, generator=generator)
    with torch.no_grad():
        layer.b.copy_(b)
        expected = x @ (layer.frozen.weight + 4.0 * b @ layer.a).t() + layer.frozen.bias
        torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=0)


def test_adapters_are_made_on_the_device_of_the_layer_they_wrap():
    """A model on a GPU failed with "expected all tensors to be on the same device"."""
    layer = LoRALinear(nn.Linear(6, 5, device="meta"), rank=2, alpha=8.0)
    assert {parameter.device.type for parameter in layer.parameters()} == {"meta"}


@pytest.mark.parametrize("trained", [True, False])
def test_merging_gives_back_what_was_trained_before(tiny_model, trained):
    """Merged layers stayed frozen."""
    tiny_model.requires_grad_(trained)
    add_lora(tiny_model)
    merge_lora(tiny_model)
    assert {parameter.requires_grad for parameter in tiny_model.parameters()} == {trained}
