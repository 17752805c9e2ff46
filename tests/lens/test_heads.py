"""gpt2.lens.heads: heads built by hand get their labels, random ones none; scores term by term."""

import numpy as np
import pytest
import torch

from gpt2 import lens
from gpt2.config import GPT2Config
from gpt2.lens.heads import head_targets
from gpt2.model import GPT2
from gpt2.records import HEAD_LABELS

V, T, SHARP = 24, 48, 40.0
TOKEN, BEFORE, PLACE = slice(0, V), slice(V, 2 * V), slice(2 * V, 2 * V + T)


@pytest.fixture(scope="module")
def planted():
    """Two layers whose first heads make the circuit of Elhage et al. 2021.

    The stream has three parts: which token this is, which one was before it, and where it stands.
    Head 0.0 finds the place one to the left and copies the token there into the second part; head
    1.0 looks for a place whose second part is this token. Head 0.1 looks at place 0, head 1.1 at
    places with the same token. MLPs are silent.
    """
    C = 2 * V + T
    model = GPT2(GPT2Config(vocab_size=V, n_ctx=T, n_embd=C, n_layer=2, n_head=2)).eval()
    D = C // 2
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "ln_" not in name:
                parameter.zero_()
        model.wte.weight[:, TOKEN] = torch.eye(V)
        model.wpe.weight[:, PLACE] = torch.eye(T)

        def part(layer, head, which):  # rows of c_attn that make this head's q, k or v
            start = "qkv".index(which) * C + head * D
            return model.h[layer].attn.c_attn.weight[start : start + D]

        shift = torch.eye(T)[1:, :]  # place t to place t - 1
        part(0, 0, "q")[: T - 1, PLACE] = SHARP * shift
        part(0, 0, "k")[:T, PLACE] = torch.eye(T)
        part(0, 0, "v")[:V, TOKEN] = torch.eye(V)
        model.h[0].attn.c_proj.weight[BEFORE, :V] = torch.eye(V)
        model.h[0].attn.c_attn.bias[D] = SHARP  # head 0.1 asks for place 0 wherever it stands
        part(0, 1, "k")[0, 2 * V] = 1.0
        part(1, 0, "q")[:V, TOKEN] = SHARP * torch.eye(V)
        part(1, 0, "k")[:V, BEFORE] = torch.eye(V)
        part(1, 1, "q")[:V, TOKEN] = SHARP * torch.eye(V)
        part(1, 1, "k")[:V, TOKEN] = torch.eye(V)
    return model


def test_planted_heads_get_their_labels(planted):
    found = lens.model_heads(planted)
    labels = [[found.label(layer, head) for head in range(2)] for layer in range(2)]
    assert labels == [["previous token", "first token"], ["induction", "duplicate token"]]
    previous, first, duplicate, induction = found.scores
    assert previous[0, 0] > 0.95
    assert first[0, 1] > 0.95
    assert induction[1, 0] > 0.9
    assert 0.4 < duplicate[1, 1] <= 0.5  # the other half goes to the token itself


def test_induction_needs_the_head_before_it(planted):
    """Without the previous-token head the second layer has nothing to find."""
    own = planted.h[0].attn.c_proj.weight
    kept = own.detach().clone()
    try:
        own.data.zero_()
        found = lens.model_heads(planted)
    finally:
        own.data.copy_(kept)
    assert found.scores[3, 1, 0] < 0.1
    assert found.label(1, 0) == ""


@pytest.mark.parametrize("seed", range(5))
def test_random_models_get_no_label(make_model, seed):
    config = GPT2Config(vocab_size=200, n_ctx=128, n_embd=32, n_layer=3, n_head=4)
    found = lens.model_heads(make_model(config, seed=seed))
    assert found.scores.shape == (4, 3, 4)
    assert found.scores.max() < found.threshold
    assert {found.label(layer, head) for layer in range(3) for head in range(4)} == {""}


def test_scores_are_the_mean_attention_on_the_targets(make_model, tiny_config):
    """By loops over the definition: targets of each token, their weights added, tokens averaged."""
    model, ids = make_model(tiny_config, seed=3), [4, 9, 4, 4, 7, 9, 9, 1, 4]
    reading = lens.Reading.of(model, ids)
    found = lens.head_scores(reading)
    targets = [
        lambda t: [t - 1] if t else [],
        lambda t: [0] if t else [],
        lambda t: [s for s in range(t) if ids[s] == ids[t]],
        lambda t: [s + 1 for s in range(t - 1) if ids[s] == ids[t]],
    ]
    for layer in range(3):
        maps = reading.attention(layer)
        for kind, of in enumerate(targets):
            rows = [t for t in range(len(ids)) if of(t)]
            assert found.counts[kind] == len(rows)
            expected = sum(maps[:, t, of(t)].sum(axis=-1) for t in rows) / len(rows)
            np.testing.assert_allclose(found.scores[kind, layer], expected, atol=1e-6)


def test_a_text_without_repetition_scores_0_there(tiny_model):
    found = lens.head_scores(lens.Reading.of(tiny_model, [1, 2, 3, 4]))
    assert found.counts == (3, 3, 0, 0)
    assert not found.scores[2:].any()
    alone = lens.head_scores(lens.Reading.of(tiny_model, [1]))
    assert alone.counts == (0, 0, 0, 0)
    assert not alone.scores.any()


def test_targets_look_back_only():
    targets = head_targets([3, 3, 3, 5, 3])
    assert targets.shape == (len(HEAD_LABELS), 5, 5)
    assert not targets.triu().any()


def test_scores_lie_in_0_to_1_and_repeat(tiny_model):
    first, again = lens.model_heads(tiny_model), lens.model_heads(tiny_model)
    np.testing.assert_array_equal(first.scores, again.scores)
    assert first.scores.min() >= 0
    assert first.scores.max() <= 1
    assert not np.array_equal(first.scores, lens.model_heads(tiny_model, seed=1).scores)
