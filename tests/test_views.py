"""gpt2.views: one forward pass feeds the views of a selection, and what is kept is bounded."""

import numpy as np
import pytest

from gpt2 import lens
from gpt2.engine import Engine, Request
from gpt2.lens import Scales
from gpt2.limits import Limits
from gpt2.sampling import Sampling

IDS = (15496, 995, 11, 262, 262, 995, 318, 15496)


@pytest.fixture
def fresh(engine):
    """An engine of the same models that remembers nothing yet."""
    return Engine(engine.library, Limits())


@pytest.fixture
def passes(fresh):
    """How many tokens went through the first block of the language model, pass by pass."""
    seen = []
    block = fresh.library.get("tiny").backbone.h[0]
    hook = block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].size(1)))
    yield seen
    hook.remove()


def test_one_pass_feeds_all_views_of_a_text(fresh, passes):
    fresh.attention(IDS, 0, model="tiny")
    fresh.attention(IDS, 1, model="tiny", weighted=True)
    fresh.attention_window(IDS, 1, rows=(4, 8), columns=(0, 4), model="tiny")
    fresh.overview(IDS, 1, 3, model="tiny")
    fresh.tiles(IDS, 3, model="tiny")
    fresh.rollout(IDS, model="tiny")
    fresh.logit_lens(IDS, [3], model="tiny")
    fresh.step(IDS, 4, Sampling(), model="tiny")
    fresh.score_tokens(IDS, model="tiny")
    assert passes == [8]


def test_what_is_kept_changes_no_answer(fresh):
    first, again = (fresh.tiles(IDS, 5, model="tiny").weights for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = fresh.attention([*IDS[:-1], 7], 1, model="tiny")
    np.testing.assert_array_equal(
        other, lens.attention_maps(fresh.library.get("tiny").backbone, [*IDS[:-1], 7], 1)
    )


def test_other_texts_and_other_models_are_read_anew(fresh, passes):
    for ids in (IDS, IDS[:5], IDS):
        fresh.rollout(ids, model="tiny")
    assert passes == [8, 5]
    fresh.rollout(IDS, model="tiny-news")
    assert len(fresh._observed.items()) == 3


def test_no_more_is_kept_than_the_limit_allows(engine):
    streams = 3 * len(IDS) * 16 * 4  # of two blocks and the embedding, 16 wide, in bytes
    small = Engine(engine.library, Limits(observed_bytes=2 * streams))
    for last in range(5):
        small.rollout([*IDS[:-1], last], model="tiny")
    assert [key[1][-1] for key, _ in small._observed.items()] == [3, 4]
    assert small._observed.nbytes == 2 * streams


def test_a_text_that_filled_the_context_has_its_last_token_predicted(fresh, passes):
    ids = [(7 * n) % 1000 for n in range(65)]
    assert fresh.step(ids, 64, Sampling(), model="tiny").id == ids[64]
    assert len(fresh.score_tokens(ids, model="tiny").logprobs) == 64
    assert passes == [64]
    with pytest.raises(ValueError, match="context holds 64"):
        fresh.attention(ids, 0, model="tiny")
    fresh.waterfall(ids, 64, Sampling(), model="tiny")
    with pytest.raises(ValueError, match="token 65 has no prediction; choose 1 to 64"):
        fresh.waterfall(ids, 65, Sampling(), model="tiny")


def test_what_heads_are_is_measured_once_a_model(fresh, passes):
    first = fresh.model_heads(model="tiny")
    count = len(passes)
    assert count and fresh.model_heads(model="tiny") is first and len(passes) == count
    assert fresh.heads(IDS, model="tiny").counts[0] == 7


def test_a_waterfall_ends_in_the_token_that_was_written(fresh, passes):
    sampling = Sampling(temperature=3.0, top_k=0, seed=7)
    *_, trace = fresh.generate(Request("Hello world", 20, sampling))
    passes.clear()
    for index in range(len(trace.prompt_ids), len(trace.ids)):
        found = fresh.waterfall(trace.ids, index, sampling, model="tiny")
        assert found.token == trace.ids[index] and found.low <= found.u < found.high
    assert fresh.waterfall(trace.ids, len(trace.ids), sampling, model="tiny").left[-1] == 50257
    assert passes == [len(trace.ids)]
    for index in (0, len(trace.ids) + 1):
        with pytest.raises(ValueError, match=f"token {index} has no prediction; choose 1 to 22"):
            fresh.waterfall(trace.ids, index, sampling, model="tiny")


def test_a_scaled_prediction_stands_beside_the_plain_one(fresh, passes):
    config = fresh.shape("tiny")
    off = Scales.of(config, heads={(0, 1): 0})
    found = fresh.ablate(IDS, 5, off, model="tiny")
    step = fresh.step(IDS, 5, Sampling(), model="tiny")
    assert found.token == IDS[5] and found.before[IDS[5]] == pytest.approx(step.prob, rel=1e-5)
    change = fresh.ablation_map(IDS, 5, model="tiny").heads[0, 1]
    ratio = found.after[IDS[5]] / found.before[IDS[5]]
    assert np.log(ratio) == pytest.approx(change, abs=1e-4) and abs(change) > 1e-3
    same = fresh.ablate(IDS, 8, Scales.of(config), model="tiny")
    np.testing.assert_allclose(same.before, same.after, atol=1e-6)
    assert same.token == -1
    assert passes == [8]  # the scaled ones went another way


def test_a_text_is_written_anew_with_a_layer_off(fresh):
    request = Request("Hello world", 12, Sampling(temperature=3.0, top_k=0, seed=7))
    config = fresh.shape("tiny")
    plain, neutral, without = (
        list(fresh.generate(request, scales=scales))[-1]
        for scales in (None, Scales.of(config), Scales.of(config, layers={1: 0}))
    )
    assert plain.steps == neutral.steps and plain.prompt_ids == without.prompt_ids
    assert plain.ids != without.ids


def test_attribution_explains_a_token_of_the_text(fresh, passes):
    backbone = fresh.library.get("tiny").backbone
    for method in lens.METHODS:
        found = fresh.attribute(IDS, 6, IDS[6], method=method, model="tiny")
        logit = float(lens.next_token_logits(backbone, IDS)[5, IDS[6]])
        assert found.method == method and found.scores.shape == (6,)
        assert found.score == pytest.approx(logit, abs=1e-4)
    truth = fresh.faithfulness(IDS, 6, IDS[6], model="tiny")
    assert truth.names == (*lens.METHODS, "attention rollout", "random order")


def test_attribution_explains_a_class_and_one_class_against_another(fresh):
    verdict = fresh.classify("Oil prices climb")
    ask = {"method": "integrated gradients", "model": "tiny-news"}
    found = fresh.attribute(verdict.ids, 3, 2, **ask)
    versus = fresh.attribute(verdict.ids, 3, 2, instead_of=1, **ask)
    assert versus.score == pytest.approx(float(np.log(verdict.probs[2] / verdict.probs[1])), 1e-3)
    assert found.scores.shape == versus.scores.shape == (3,)
    with pytest.raises(ValueError, match="answer 4 is not between 0 and 3"):
        fresh.attribute(verdict.ids, 3, 4, **ask)


def test_attribution_has_its_limits(engine, fresh):
    small = Engine(engine.library, Limits(explained_tokens=4))
    ask = {"method": "occlusion", "model": "tiny"}
    assert len(small.attribute(IDS, 4, 7, **ask).scores) == 4
    with pytest.raises(ValueError, match="5 tokens stand before this one; .* at most 4; choose an"):
        small.attribute(IDS, 5, 7, **ask)
    with pytest.raises(ValueError, match="5 tokens stand before this one"):
        small.ablation_map(IDS, 5, model="tiny")
    with pytest.raises(ValueError, match="no method 'magic'; there are: gradient x input"):
        fresh.attribute(IDS, 5, 7, method="magic", model="tiny")
