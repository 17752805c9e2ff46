"""One forward pass feeds the views of a selection, and what is kept is bounded."""

import numpy as np
import pytest

from gpt2 import lens
from gpt2.engine import Engine, Request
from gpt2.engine.request import Limits
from gpt2.sampling import Sampling

IDS = (15496, 995, 11, 262, 262, 995, 318, 15496)


def test_one_pass_feeds_all_views_of_a_text(fresh_engine, passes):
    fresh_engine.attention(IDS, 0, model="tiny")
    fresh_engine.attention(IDS, 1, model="tiny", weighted=True)
    fresh_engine.attention_window(IDS, 1, rows=(4, 8), columns=(0, 4), model="tiny")
    fresh_engine.overview(IDS, 1, 3, model="tiny")
    fresh_engine.tiles(IDS, 3, model="tiny")
    fresh_engine.rollout(IDS, model="tiny")
    fresh_engine.logit_lens(IDS, [3], model="tiny")
    fresh_engine.step(IDS, 4, Sampling(), model="tiny")
    fresh_engine.score_tokens(IDS, model="tiny")
    assert passes == [8]


def test_what_is_kept_changes_no_answer(fresh_engine):
    first, again = (fresh_engine.tiles(IDS, 5, model="tiny").weights for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = fresh_engine.attention([*IDS[:-1], 7], 1, model="tiny")
    reading = lens.Reading.of(fresh_engine.library.get("tiny").backbone, [*IDS[:-1], 7])
    np.testing.assert_array_equal(other, reading.attention(1))


def test_other_texts_and_other_models_are_read_anew(fresh_engine, passes):
    for ids in (IDS, IDS[:5], IDS):
        fresh_engine.rollout(ids, model="tiny")
    assert passes == [8, 5]
    others, block = [], fresh_engine.library.get("tiny-news").backbone.h[0]
    hook = block.register_forward_pre_hook(lambda _, inputs: others.append(inputs[0].size(1)))
    fresh_engine.rollout(IDS, model="tiny-news")
    hook.remove()
    assert others == [8]


def test_no_more_is_kept_than_the_limit_allows(engine, passes):
    streams = 3 * len(IDS) * 16 * 4  # of two blocks and the embedding, 16 wide, in bytes
    small = Engine(engine.library, Limits(observed_bytes=2 * streams))
    for last in range(5):
        small.rollout([*IDS[:-1], last], model="tiny")
    for last in (4, 3, 2):  # the last two are kept, and no other
        small.rollout([*IDS[:-1], last], model="tiny")
    assert passes == [8] * 6


def test_a_text_that_filled_the_context_has_its_last_token_predicted(fresh_engine, passes):
    ids = [(7 * n) % 1000 for n in range(65)]
    assert fresh_engine.step(ids, 64, Sampling(), model="tiny").id == ids[64]
    assert len(fresh_engine.score_tokens(ids, model="tiny").logprobs) == 64
    assert fresh_engine.attention(ids, 0, model="tiny").shape == (2, 64, 64)
    assert fresh_engine.logit_lens(ids, [63], model="tiny").followed_ids == ids[64]
    assert fresh_engine.heads(ids, model="tiny").counts[0] == 63
    read = fresh_engine.tokens_read(ids, model="tiny")
    assert read == tuple(ids[:64]) == fresh_engine.tokens_read(read, model="tiny")
    with pytest.raises(ValueError, match="context holds 64"):
        fresh_engine.attention([*ids, 1], 0, model="tiny")
    fresh_engine.waterfall(ids, 64, Sampling(), model="tiny")
    with pytest.raises(ValueError, match="token 65 has no prediction; choose 1 to 64"):
        fresh_engine.waterfall(ids, 65, Sampling(), model="tiny")
    assert passes == [64]


def test_a_waterfall_ends_in_the_token_that_was_written(fresh_engine, passes):
    sampling = Sampling(temperature=3.0, top_k=0, seed=7)
    *_, trace = fresh_engine.generate(Request("Hello world", 20, sampling))
    passes.clear()
    for index in range(len(trace.prompt_ids), len(trace.ids)):
        found = fresh_engine.waterfall(trace.ids, index, sampling, model="tiny")
        assert found.token == trace.ids[index] and found.low <= found.u < found.high
    assert (
        fresh_engine.waterfall(trace.ids, len(trace.ids), sampling, model="tiny").left[-1] == 50257
    )
    assert passes == [len(trace.ids)]
    for index in (0, len(trace.ids) + 1):
        with pytest.raises(ValueError, match=f"token {index} has no prediction; choose 1 to 22"):
            fresh_engine.waterfall(trace.ids, index, sampling, model="tiny")
