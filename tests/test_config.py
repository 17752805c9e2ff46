"""gpt2.config: shapes that can't be are refused when they are written down."""

import dataclasses
import math

import pytest

from gpt2.config import SIZES, GPT2Config


@pytest.mark.parametrize("name", ["vocab_size", "n_ctx", "n_embd", "n_layer", "n_head"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "12", None, True])
def test_a_size_that_is_no_positive_whole_number_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name} is "):
        GPT2Config(**{name: value})


def test_heads_that_do_not_divide_the_width_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match="n_embd is 100 and n_head is 7"):
        GPT2Config(n_embd=100, n_head=7)


@pytest.mark.parametrize("value", [0.0, -1e-5, math.nan])
def test_an_epsilon_that_is_not_above_zero_is_refused(value):
    with pytest.raises(ValueError, match="layer_norm_epsilon"):
        GPT2Config(layer_norm_epsilon=value)


@pytest.mark.parametrize("value", [-0.1, 1.0, math.nan])
def test_a_dropout_outside_zero_to_one_is_refused(value):
    with pytest.raises(ValueError, match="dropout"):
        GPT2Config(dropout=value)


def test_a_config_can_not_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        GPT2Config().n_layer = 3


@pytest.mark.parametrize(
    ("name", "width", "layers", "heads"),
    [
        ("124M", 768, 12, 12),
        ("355M", 1024, 24, 16),
        ("774M", 1280, 36, 20),
        ("1558M", 1600, 48, 25),
    ],
)
def test_the_four_sizes_are_those_of_openais_hparams(name, width, layers, heads):
    config = SIZES[name]
    assert (config.n_embd, config.n_layer, config.n_head) == (width, layers, heads)
    assert (config.vocab_size, config.n_ctx, config.head_dim) == (50257, 1024, 64)
    assert config.layer_norm_epsilon == 1e-5
