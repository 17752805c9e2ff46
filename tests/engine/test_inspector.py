"""gpt2.engine.inspector: one pass feeds the views of a text; what explains, and its limits."""

import numpy as np
import pytest

from gpt2 import lens
from gpt2.engine import Engine, Request
from gpt2.engine.request import Limits
from gpt2.lens import Scales
from gpt2.records import METHODS
from gpt2.sampling import Sampling

IDS = (15496, 995, 11, 262, 262, 995, 318, 15496)


def test_one_pass_feeds_all_views_of_a_text(fresh_engine, passes):
    fresh_engine.inspector.attention(IDS, 0, model="tiny")
    fresh_engine.inspector.attention(IDS, 1, model="tiny", weighted=True)
    fresh_engine.inspector.attention_window(IDS, 1, rows=(4, 8), columns=(0, 4), model="tiny")
    fresh_engine.inspector.overview(IDS, 1, 3, model="tiny")
    fresh_engine.inspector.tiles(IDS, 3, model="tiny")
    fresh_engine.inspector.rollout(IDS, model="tiny")
    fresh_engine.inspector.logit_lens(IDS, [3], model="tiny")
    fresh_engine.inspector.step(IDS, 4, Sampling(), model="tiny")
    fresh_engine.inspector.score_tokens(IDS, model="tiny")
    assert passes == [8]


def test_what_is_kept_changes_no_answer(fresh_engine):
    first, again = (fresh_engine.inspector.tiles(IDS, 5, model="tiny").weights for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = fresh_engine.inspector.attention([*IDS[:-1], 7], 1, model="tiny")
    reading = lens.Reading.of(fresh_engine.library.get("tiny").backbone, [*IDS[:-1], 7])
    np.testing.assert_array_equal(other, reading.attention(1))


def test_other_texts_and_other_models_are_read_anew(fresh_engine, passes):
    for ids in (IDS, IDS[:5], IDS):
        fresh_engine.inspector.rollout(ids, model="tiny")
    assert passes == [8, 5]
    others, block = [], fresh_engine.library.get("tiny-news").backbone.h[0]
    hook = block.register_forward_pre_hook(lambda _, inputs: others.append(inputs[0].size(1)))
    fresh_engine.inspector.rollout(IDS, model="tiny-news")
    hook.remove()
    assert others == [8]


def test_no_more_is_kept_than_the_limit_allows(engine, passes):
    streams = 3 * len(IDS) * 16 * 4  # of two blocks and the embedding, 16 wide, in bytes
    small = Engine(engine.library, Limits(observed_bytes=2 * streams))
    for last in range(5):
        small.inspector.rollout([*IDS[:-1], last], model="tiny")
    for last in (4, 3, 2):  # the last two are kept, and no other
        small.inspector.rollout([*IDS[:-1], last], model="tiny")
    assert passes == [8] * 6


def test_a_text_that_filled_the_context_has_its_last_token_predicted(fresh_engine, passes):
    ids = [(7 * n) % 1000 for n in range(65)]
    assert fresh_engine.inspector.step(ids, 64, Sampling(), model="tiny").id == ids[64]
    assert len(fresh_engine.inspector.score_tokens(ids, model="tiny").logprobs) == 64
    assert fresh_engine.inspector.attention(ids, 0, model="tiny").shape == (2, 64, 64)
    assert fresh_engine.inspector.logit_lens(ids, [63], model="tiny").followed_ids == ids[64]
    assert fresh_engine.inspector.heads(ids, model="tiny").counts[0] == 63
    read = fresh_engine.inspector.tokens_read(ids, model="tiny")
    assert read == tuple(ids[:64]) == fresh_engine.inspector.tokens_read(read, model="tiny")
    with pytest.raises(ValueError, match="context holds 64"):
        fresh_engine.inspector.attention([*ids, 1], 0, model="tiny")
    fresh_engine.inspector.waterfall(ids, 64, Sampling(), model="tiny")
    with pytest.raises(ValueError, match="token 65 has no prediction; choose 1 to 64"):
        fresh_engine.inspector.waterfall(ids, 65, Sampling(), model="tiny")
    assert passes == [64]


def test_a_waterfall_ends_in_the_token_that_was_written(fresh_engine, passes):
    sampling = Sampling(temperature=3.0, top_k=0, seed=7)
    *_, trace = fresh_engine.generate(Request("Hello world", 20, sampling))
    passes.clear()
    for index in range(len(trace.prompt_ids), len(trace.ids)):
        found = fresh_engine.inspector.waterfall(trace.ids, index, sampling, model="tiny")
        assert found.token == trace.ids[index]
        assert found.low <= found.u < found.high
    assert (
        fresh_engine.inspector.waterfall(trace.ids, len(trace.ids), sampling, model="tiny").left[-1]
        == 50257
    )
    assert passes == [len(trace.ids)]
    for index in (0, len(trace.ids) + 1):
        with pytest.raises(ValueError, match=f"token {index} has no prediction; choose 1 to 22"):
            fresh_engine.inspector.waterfall(trace.ids, index, sampling, model="tiny")


# --- heads, ablation and attribution ----------------------------------------------------------


def test_what_heads_are_is_measured_once_a_model(fresh_engine, passes):
    first = fresh_engine.inspector.model_heads(model="tiny")
    count = len(passes)
    assert count
    assert fresh_engine.inspector.model_heads(model="tiny") is first
    assert len(passes) == count
    assert fresh_engine.inspector.heads(IDS, model="tiny").counts[0] == 7


def test_a_scaled_prediction_stands_beside_the_plain_one(fresh_engine, passes):
    config = fresh_engine.catalog.config("tiny")
    off = Scales.of(config, heads={(0, 1): 0})
    found = fresh_engine.inspector.ablate(IDS, 5, off, model="tiny")
    step = fresh_engine.inspector.step(IDS, 5, Sampling(), model="tiny")
    assert found.token == IDS[5]
    assert found.before[IDS[5]] == pytest.approx(step.prob, rel=1e-5)
    *_, found_map = fresh_engine.inspector.ablation_maps(IDS, 5, model="tiny")
    change = found_map.heads[0, 1]
    ratio = found.after[IDS[5]] / found.before[IDS[5]]
    assert np.log(ratio) == pytest.approx(change, abs=1e-4)
    assert abs(change) > 1e-3
    same = fresh_engine.inspector.ablate(IDS, 8, Scales.of(config), model="tiny")
    np.testing.assert_allclose(same.before, same.after, atol=1e-6)
    assert same.token == -1
    # What was read serves all; each scaled model has a pass, the map one of its first layer.
    assert passes == [8, 5, 5, 8]


def test_a_text_is_written_anew_with_a_layer_off(fresh_engine):
    request = Request("Hello world", 12, Sampling(temperature=3.0, top_k=0, seed=7))
    config = fresh_engine.catalog.config("tiny")
    plain, neutral, without = (
        list(fresh_engine.generate(request, scales=scales))[-1]
        for scales in (None, Scales.of(config), Scales.of(config, layers={1: 0}))
    )
    assert plain.steps == neutral.steps
    assert plain.prompt_ids == without.prompt_ids
    assert plain.ids != without.ids


def test_attribution_explains_a_token_of_the_text(fresh_engine, passes):
    backbone = fresh_engine.library.get("tiny").backbone
    for method in METHODS:
        *_, found = fresh_engine.inspector.attributions(IDS, 6, IDS[6], method=method, model="tiny")
        logit = float(lens.Reading.of(backbone, IDS).logits_before(6)[IDS[6]])
        assert found.method == method
        assert found.scores.shape == (6,)
        assert found.score == pytest.approx(logit, abs=1e-4)
    truth = fresh_engine.inspector.faithfulness(IDS, 6, IDS[6], model="tiny")
    assert truth.names == (*METHODS, "attention rollout", "random order")


def test_attribution_explains_a_class_and_one_class_against_another(fresh_engine):
    verdict = fresh_engine.inspector.classify("Oil prices climb")
    ask = {"method": "integrated gradients", "model": "tiny-news"}
    *_, found = fresh_engine.inspector.attributions(verdict.ids, 3, 2, **ask)
    *_, versus = fresh_engine.inspector.attributions(verdict.ids, 3, 2, instead_of=1, **ask)
    assert versus.score == pytest.approx(float(np.log(verdict.probs[2] / verdict.probs[1])), 1e-3)
    assert found.scores.shape == versus.scores.shape == (3,)
    with pytest.raises(ValueError, match="answer 4 is not between 0 and 3"):
        next(fresh_engine.inspector.attributions(verdict.ids, 3, 4, **ask))


def test_attribution_has_its_limits(engine, fresh_engine):
    small = Engine(engine.library, Limits(explained_tokens=4))
    ask = {"method": "occlusion", "model": "tiny"}
    assert len(next(small.inspector.attributions(IDS, 4, 7, **ask)).scores) == 4
    with pytest.raises(ValueError, match=r"5 tokens stand before this one; .* at most 4; choose"):
        next(small.inspector.attributions(IDS, 5, 7, **ask))
    with pytest.raises(ValueError, match="5 tokens stand before this one"):
        next(small.inspector.ablation_maps(IDS, 5, model="tiny"))
    with pytest.raises(ValueError, match="no method 'magic'; there are: gradient x input"):
        next(fresh_engine.inspector.attributions(IDS, 5, 7, method="magic", model="tiny"))


def test_what_takes_long_comes_in_parts_from_the_end(fresh_engine, monkeypatch):
    (whole,) = fresh_engine.inspector.ablation_maps(IDS, 7, model="tiny")
    (lost,) = fresh_engine.inspector.attributions(IDS, 7, 3, method="occlusion", model="tiny")
    monkeypatch.setattr("gpt2.lens.ablation.LAYERS_AT_ONCE", 1)
    monkeypatch.setattr("gpt2.lens.attribution.OCCLUDED_AT_ONCE", 3)
    maps = list(fresh_engine.inspector.ablation_maps(IDS, 7, model="tiny"))
    assert [np.isnan(found.mlps).sum() for found in maps] == [1, 0]
    np.testing.assert_allclose(maps[-1].heads, whole.heads, atol=1e-5)
    np.testing.assert_allclose(maps[-1].mlps, whole.mlps, atol=1e-5)
    parts = list(fresh_engine.inspector.attributions(IDS, 7, 3, method="occlusion", model="tiny"))
    assert [np.isnan(part.scores).tolist().index(False) for part in parts] == [4, 1, 0]
    assert [part.steps for part in parts] == [3, 6, 7]
    np.testing.assert_allclose(parts[-1].scores, lost.scores, atol=1e-5)


def test_between_parts_others_have_their_turn(fresh_engine, monkeypatch):
    monkeypatch.setattr("gpt2.lens.ablation.LAYERS_AT_ONCE", 1)
    maps = fresh_engine.inspector.ablation_maps(IDS, 7, model="tiny")
    next(maps)
    assert fresh_engine.inspector.step(IDS, 7, Sampling(), model="tiny").id == IDS[7]
    assert len(list(maps)) == 1


def test_a_quick_check_is_part_of_the_whole_one(fresh_engine):
    quick, whole = (
        fresh_engine.inspector.faithfulness(IDS, 6, IDS[6], model="tiny", quick=quick)
        for quick in (True, False)
    )
    assert quick.names == (METHODS[0], "attention rollout")
    rows = [whole.names.index(name) for name in quick.names]
    np.testing.assert_allclose(quick.deletion, whole.deletion[rows], rtol=1e-5)
    np.testing.assert_allclose(quick.insertion, whole.insertion[rows], rtol=1e-5)
