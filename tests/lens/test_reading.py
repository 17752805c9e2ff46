"""gpt2.lens.reading and logit_lens: against transformers, papers' formulas, and by hand."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt2 import lens, weights
from gpt2.lens.reading import Reading, cell_edges, pool

TOLERANCE = 1e-4
IDS = [5, 17, 0, 96, 17, 17, 3, 42, 88, 61, 5, 30]
LONG = torch.randint(97, (300,), generator=torch.Generator().manual_seed(1)).tolist()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory, make_model, tiny_config, vocabulary):
    """Two random models and the shipped one, transformers' reading of each, and some tokens."""
    made = []
    shapes = (tiny_config, replace(tiny_config, n_embd=30, n_head=3, n_layer=2))
    for seed, config in enumerate(shapes, start=5):
        model, path = make_model(config, seed=seed), tmp_path_factory.mktemp("hf") / "model"
        weights.save(model, path, vocabulary=vocabulary)
        made.append((model, path, IDS))
    text = torch.randint(50257, (40,), generator=torch.Generator().manual_seed(2)).tolist()
    made.append((weights.load_language_model(vocabulary), vocabulary, text))
    how = {"attn_implementation": "eager", "dtype": torch.float32}
    return [
        (model, GPT2LMHeadModel.from_pretrained(path, **how).eval(), ids)
        for model, path, ids in made
    ]


@pytest.fixture(scope="module")
def long_model(make_model, tiny_config):
    return make_model(replace(tiny_config, n_ctx=300))


@contextmanager
def passes(model):
    """Counts what goes through each block: {layer: [token counts]}."""
    seen = {layer: [] for layer in range(model.config.n_layer)}
    hooks = [
        block.register_forward_pre_hook(
            lambda _, inputs, layer=layer: seen[layer].append(inputs[0].size(1))
        )
        for layer, block in enumerate(model.h)
    ]
    yield seen
    for hook in hooks:
        hook.remove()


# --- the streams -----------------------------------------------------------------------------


@pytest.mark.parametrize("which", range(3))
def test_streams_equal_transformers(pairs, which):
    """Its last hidden state is after the final norm; the ones before are the streams."""
    model, theirs, ids = pairs[which]
    streams = Reading.of(model, ids).streams
    with torch.inference_mode():
        expected = theirs(torch.tensor([ids]), output_hidden_states=True).hidden_states
        assert len(expected) == len(streams) == model.config.n_layer + 1
        for ours, hidden in zip(streams[:-1], expected[:-1], strict=True):
            torch.testing.assert_close(ours, hidden[0], atol=TOLERANCE, rtol=1e-4)
        last = model.ln_f(streams[-1])
        torch.testing.assert_close(last, expected[-1][0], atol=TOLERANCE, rtol=1e-4)


def test_the_views_of_a_reading_need_no_further_pass(pairs):
    model, _, ids = pairs[0]
    with passes(model) as seen:
        reading = Reading.of(model, ids)
        assert seen == {layer: [len(ids)] for layer in range(3)}
        for layer in range(3):
            reading.attention(layer)
            reading.attention(layer, weighted=True)
            reading.overview(layer, 4)
        reading.tiles(4)
        reading.rollout()
        lens.logit_lens(reading, range(len(ids)))
        reading.logits_before(4)
    assert seen == {layer: [len(ids)] for layer in range(3)}


def test_it_keeps_the_streams_and_no_more(pairs):
    reading = Reading.of(pairs[0][0], IDS)
    assert reading.streams.nbytes == 4 * 12 * 32 * 4  # streams, tokens, width, bytes of a float


@pytest.mark.parametrize(("count", "words"), [(0, "no tokens"), (26, "context holds 24")])
def test_a_text_that_cannot_be_read_is_refused(pairs, count, words):
    with pytest.raises(ValueError, match=words):
        Reading.of(pairs[0][0], [1] * count)


# --- attention -------------------------------------------------------------------------------


@pytest.mark.parametrize("which", range(3))
def test_attention_equals_transformers(pairs, which):
    model, theirs, ids = pairs[which]
    reading = Reading.of(model, ids)
    with torch.inference_mode():
        expected = theirs(torch.tensor([ids]), output_attentions=True).attentions
    for layer, maps in enumerate(expected):
        ours = reading.attention(layer)
        np.testing.assert_allclose(ours, maps[0].numpy(), atol=TOLERANCE)


def test_weighted_attention_is_the_length_of_what_each_token_gives(pairs):
    """Kobayashi et al. 2020, equation 4, term by term; the terms add up to the block's answer."""
    model, _, ids = pairs[0]
    reading, attn = Reading.of(model, ids), model.h[1].attn
    ours = reading.attention(1, weighted=True)
    with torch.inference_mode():
        x = model.h[1].ln_1(reading.streams[1])[None]
        _, _, v = attn.qkv(x)
        pattern, total = attn.pattern(x)[0], torch.zeros(len(ids), 32)
        for head in range(4):
            part = attn.c_proj.weight[:, 8 * head : 8 * head + 8]
            for t in range(len(ids)):
                for s in range(len(ids)):
                    given = pattern[head, t, s] * (part @ v[0, head, s])
                    total[t] += given
                    assert ours[head, t, s] == pytest.approx(float(given.norm()), abs=1e-5)
        torch.testing.assert_close(total + attn.c_proj.bias, attn(x)[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_window_is_a_part_of_the_map(long_model, weighted):
    reading = Reading.of(long_model, LONG)
    whole = reading.attention(2, weighted=weighted)
    part = reading.attention(2, rows=(250, 300), columns=(7, 31), weighted=weighted)
    np.testing.assert_array_equal(part, whole[:, 250:300, 7:31])


@pytest.mark.parametrize("rows", [(0, 0), (5, 4), (-1, 3), (0, 13)])
def test_a_window_outside_the_text_is_refused(pairs, rows):
    reading = Reading.of(pairs[0][0], IDS)
    with pytest.raises(ValueError, match=f"rows are {rows[0]} to {rows[1]}; .* within 0 to 12"):
        reading.attention(0, rows=rows, columns=(0, 3))


def test_attention_looks_back_only_and_adds_up_to_1(pairs):
    maps = Reading.of(pairs[0][0], IDS).attention(1)
    assert np.all(np.triu(maps, k=1) == 0)
    assert np.all(maps >= 0)
    np.testing.assert_allclose(maps.sum(axis=-1), 1, atol=1e-5)


def test_attention_of_a_beginning_is_the_beginning_of_the_attention(pairs):
    whole, part = (Reading.of(pairs[0][0], ids).attention(2) for ids in (IDS, IDS[:7]))
    np.testing.assert_allclose(part, whole[:, :7, :7], atol=1e-5)


def test_attention_of_one_token_is_1(pairs):
    assert Reading.of(pairs[0][0], [3]).attention(0).tolist() == [[[1.0]]] * 4


@pytest.mark.parametrize("layer", [-1, 3])
def test_a_layer_that_is_not_there_is_refused(pairs, layer):
    reading = Reading.of(pairs[0][0], IDS)
    for view in (
        lambda: reading.attention(layer),
        lambda: reading.overview(layer, 4),
    ):
        with pytest.raises(ValueError, match=f"layer is {layer}; this model has layers 0 to 2"):
            view()


# --- pooling ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("tokens", "cells"), [(300, 16), (12, 5), (12, 12), (7, 64), (1, 3)])
def test_cells_cut_the_text_evenly(tokens, cells):
    edges = cell_edges(tokens, cells)
    sizes = np.diff(edges)
    assert (edges[0], edges[-1], len(sizes)) == (0, tokens, min(tokens, cells))
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1


def test_pooling_is_the_mean_of_rows_and_the_sum_of_columns():
    weights_ = torch.rand(2, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    found = pool(weights_, edges := (0, 2, 4, 7))
    assert found.shape == (2, 3, 3, 3)
    for i in range(3):
        for j in range(3):
            block = weights_[..., edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
            torch.testing.assert_close(found[..., i, j], block.sum(dim=-1).mean(dim=-1))


def test_tiles_are_the_overviews_of_all_layers_and_rows_still_add_up_to_1(long_model):
    reading = Reading.of(long_model, LONG)
    found = reading.tiles(16)
    assert found.weights.shape == (3, 4, 16, 16)
    assert found.edges == cell_edges(300, 16)
    np.testing.assert_allclose(found.weights.sum(axis=-1), 1, atol=1e-4)
    for layer in range(3):
        one = reading.overview(layer, 16)
        np.testing.assert_array_equal(one.weights, found.weights[layer])


def test_a_text_of_fewer_tokens_than_cells_is_not_pooled(pairs):
    reading = Reading.of(pairs[0][0], IDS)
    found = reading.overview(1, 64)
    np.testing.assert_array_equal(found.weights, reading.attention(1))
    with pytest.raises(ValueError, match="cells is 0; it must be at least 1"):
        reading.tiles(0)


# --- rollout ---------------------------------------------------------------------------------


def test_rollout_is_the_papers_product(pairs):
    model, theirs, ids = pairs[0]
    with torch.inference_mode():
        layers = theirs(torch.tensor([ids]), output_attentions=True).attentions
    total = np.eye(len(ids))
    for maps in layers:
        mixed = 0.5 * maps[0].double().mean(dim=0).numpy() + 0.5 * np.eye(len(ids))
        total = mixed / mixed.sum(axis=1, keepdims=True) @ total
    np.testing.assert_allclose(Reading.of(model, ids).rollout(), total, atol=1e-5)


@pytest.mark.parametrize("which", range(3))
def test_rows_of_rollout_add_up_to_1_and_look_back(pairs, which):
    model, _, ids = pairs[which]
    found = Reading.of(model, ids).rollout()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert np.all(np.triu(found, k=1) == 0)
    assert np.all(found >= 0)


# --- logit lens ------------------------------------------------------------------------------


@pytest.mark.parametrize("which", range(3))
def test_logit_lens_equals_transformers_layer_by_layer(pairs, which):
    model, theirs, ids = pairs[which]
    places = [0, 3, len(ids) - 1]
    found = lens.logit_lens(Reading.of(model, ids), places, top=4)
    with torch.inference_mode():
        hidden = theirs(torch.tensor([ids]), output_hidden_states=True).hidden_states
        normed = [theirs.transformer.ln_f(x) for x in hidden[:-1]] + [hidden[-1]]
        probs = torch.stack([theirs.lm_head(x)[0, places] for x in normed]).softmax(dim=-1)
    np.testing.assert_allclose(found.top_probs, probs.topk(4).values, atol=TOLERANCE)
    own = probs.gather(2, torch.from_numpy(found.top_ids))
    np.testing.assert_allclose(found.top_probs, own, atol=TOLERANCE)
    for p, place in enumerate(places[:2]):
        assert found.followed_ids[p] == ids[place + 1]
        column = probs[:, p]
        np.testing.assert_allclose(
            found.followed_probs[:, p], column[:, ids[place + 1]], atol=TOLERANCE
        )


def test_the_last_layer_is_what_the_model_says(pairs):
    model, _, ids = pairs[0]
    found = lens.logit_lens(Reading.of(model, ids), range(len(ids)), top=97)
    with torch.inference_mode():
        probs = model(torch.tensor([ids]))[0].softmax(dim=-1)
    np.testing.assert_allclose(found.top_probs[-1], probs.sort(descending=True).values, atol=1e-6)
    np.testing.assert_array_equal(found.predicted_ids, probs.argmax(dim=-1))
    np.testing.assert_array_equal(found.predicted_ranks[-1], 1)
    np.testing.assert_array_equal(found.predicted_probs[-1], found.top_probs[-1, :, 0])


def test_ranks_and_probabilities_are_those_of_the_tokens_in_each_layer(pairs):
    model, _, ids = pairs[0]
    found = lens.logit_lens(Reading.of(model, ids), range(len(ids)), top=97)
    for name in ("followed", "predicted"):
        for layer in range(4):
            for p in range(len(ids) - 1):
                token = getattr(found, f"{name}_ids")[p]
                place = found.top_ids[layer, p].tolist().index(token)
                assert getattr(found, f"{name}_ranks")[layer, p] == place + 1
                assert getattr(found, f"{name}_probs")[layer, p] == found.top_probs[layer, p, place]
    assert found.followed_ids[-1] == -1
    assert np.all(found.followed_probs[:, -1] == 0)
    assert np.all(found.followed_ranks[:, -1] == 0)


def test_many_positions_are_read_as_if_at_once(long_model):
    reading = Reading.of(long_model, LONG)
    whole = lens.logit_lens(reading, range(300), top=3)
    for place in (0, 127, 128, 129, 256, 299):
        one = lens.logit_lens(reading, [place], top=3)
        np.testing.assert_allclose(whole.top_probs[:, place], one.top_probs[:, 0], atol=1e-5)
        assert whole.predicted_ids[place] == one.predicted_ids[0]


@pytest.mark.parametrize("positions", [[], [12], [-1], [3, 99]])
def test_positions_that_are_not_there_are_refused(pairs, positions):
    reading = Reading.of(pairs[0][0], IDS)
    with pytest.raises(ValueError, match=r"positions are .*; choose some from 0 to 11"):
        lens.logit_lens(reading, positions)
    with pytest.raises(ValueError, match="top is 98; it must be 1 to 97"):
        lens.logit_lens(reading, [1], top=98)
