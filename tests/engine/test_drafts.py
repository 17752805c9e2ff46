"""gpt2.engine.drafts: branches are exact to the bit, and what is shared is not computed again."""

from dataclasses import replace

import pytest

from gpt2.engine import Engine, Request
from gpt2.engine.request import Limits
from gpt2.generate import generate
from gpt2.lens import Scales
from gpt2.sampling import Sampling

LIVELY = Sampling(temperature=3.0, top_k=0, repetition_penalty=1.2, seed=7)
WISH = Request("Hello big world", 16, LIVELY)  # 3 tokens of prompt


@pytest.fixture
def forgetful(engine):
    """An engine that never remembers a thing."""
    return Engine(engine.library, Limits(draft_bytes=0))


@pytest.fixture
def read(engine, monkeypatch):
    """How many tokens were read, as a list with one number."""
    counted, kind = [0], type(engine.library.get("tiny").decoder)
    hidden = kind.hidden

    def watched(decoder, feeds):
        counted[0] += sum(len(feed.ids) for feed in feeds)
        return hidden(decoder, feeds)

    monkeypatch.setattr(kind, "hidden", watched)
    return counted


def last(traces):
    return list(traces)[-1]


def answer(trace):
    return trace.ids, trace.steps, trace.completion, trace.finish_reason


def other(token):
    return (token + 1) % 50257


def test_a_branch_is_the_text_up_to_it_then_the_choice_then_what_the_seed_draws(fresh_engine):
    whole = last(fresh_engine.generate(WISH))
    token = other(whole.ids[10])
    traces = list(fresh_engine.branch(WISH, whole.ids, 10, token))
    found = traces[-1]
    assert found.prompt_ids == whole.prompt_ids
    assert found.steps[:7] == whole.steps[:7]
    assert found.ids[:11] == (*whole.ids[:10], token)
    assert len(found.steps) == 16
    assert [len(trace.steps) for trace in traces] == list(range(8, 17))
    backbone = fresh_engine.library.get("tiny").backbone
    rest = list(generate(backbone, found.ids[:11], LIVELY, max_new_tokens=8))
    assert [step.id for step in rest] == list(found.ids[11:])
    assert found.ids[11:] != whole.ids[11:]
    assert found.completion == fresh_engine.catalog.tokenizer("tiny").decode(found.ids[3:])


def test_the_step_of_the_choice_is_a_replay_with_that_token(fresh_engine):
    whole = last(fresh_engine.generate(WISH))
    token = whole.steps[7].top_ids[5]
    step = last(fresh_engine.branch(WISH, whole.ids, 10, token)).steps[7]
    again = fresh_engine.inspector.step([*whole.ids[:10], token], 10, LIVELY, model="tiny")
    assert (step.id, step.rank, step.top_ids) == (token, 6, again.top_ids)
    assert step.logprob == pytest.approx(again.logprob, abs=1e-5)
    assert step.top_probs == whole.steps[7].top_probs


@pytest.mark.parametrize("position", [3, 4, 10, 18])
def test_the_token_that_was_there_gives_the_text_that_was_there(fresh_engine, position):
    whole = last(fresh_engine.generate(WISH))
    found = last(fresh_engine.branch(WISH, whole.ids, position, whole.ids[position]))
    assert answer(found) == answer(whole)


@pytest.mark.parametrize("position", [3, 4, 10, 18])
@pytest.mark.parametrize("scales", [None, {"heads": {(0, 1): 0}}])
def test_a_branch_is_the_same_to_the_bit_whether_remembered_or_not(
    fresh_engine, forgetful, position, scales
):
    if scales:
        scales = Scales.of(fresh_engine.catalog.config("tiny"), **scales)
    whole = last(fresh_engine.generate(WISH, scales=scales))
    token = other(whole.ids[position])
    first, second = (
        last(made.branch(WISH, whole.ids, position, token, scales=scales))
        for made in (fresh_engine, forgetful)
    )
    assert answer(first) == answer(second)


def test_branches_of_branches_and_ways_back_are_exact(fresh_engine, forgetful):
    whole = last(fresh_engine.generate(WISH))
    first = last(fresh_engine.branch(WISH, whole.ids, 8, other(whole.ids[8])))
    second = last(fresh_engine.branch(WISH, first.ids, 12, other(first.ids[12])))
    back = last(fresh_engine.branch(WISH, second.ids, 8, whole.ids[8]))
    assert answer(back) == answer(whole)
    alone = last(forgetful.branch(WISH, second.ids, 12, second.ids[12]))
    assert answer(alone) == answer(second)


def test_the_shared_beginning_is_not_computed_again(fresh_engine, read):
    whole = last(fresh_engine.generate(WISH))
    assert read == [18]
    read[0] = 0
    last(fresh_engine.branch(WISH, whole.ids, 10, other(whole.ids[10])))
    assert read == [9]  # the last kept token, for its logits; the choice; 7 drawn ones
    read[0] = 0
    last(fresh_engine.branch(WISH, whole.ids, 3, other(whole.ids[3])))
    assert read == [15]  # the prompt's logits are kept


def test_a_prompt_asked_again_is_not_read_again_and_gives_the_same(fresh_engine, forgetful, read):
    first = last(fresh_engine.generate(WISH))
    read[0] = 0
    longer = replace(WISH, max_new_tokens=30, sampling=replace(LIVELY, seed=8))
    found = last(fresh_engine.generate(longer))
    assert read == [29]
    assert answer(found) == answer(last(forgetful.generate(longer)))
    assert answer(last(fresh_engine.generate(WISH))) == answer(first)


def test_another_prompt_model_or_scale_shares_nothing(fresh_engine, read):
    last(fresh_engine.generate(WISH))
    read[0] = 0
    last(fresh_engine.generate(replace(WISH, prompt="Hello big worlds")))
    assert read == [18]
    read[0] = 0
    last(
        fresh_engine.generate(
            WISH, scales=Scales.of(fresh_engine.catalog.config("tiny"), mlps={0: 0.5})
        )
    )
    assert read == [18]  # anew, through the scaled blocks


def test_other_settings_share_the_prompt_alone(fresh_engine, forgetful, read):
    whole = last(fresh_engine.generate(WISH))
    read[0] = 0
    changed = replace(WISH, sampling=replace(LIVELY, top_k=9))
    found = last(fresh_engine.branch(changed, whole.ids, 10, 5))
    assert read == [15]
    assert answer(found) == answer(last(forgetful.branch(changed, whole.ids, 10, 5)))
    assert found.steps[0].sampled_prob != whole.steps[0].sampled_prob


def test_a_text_left_half_way_can_be_branched_from(fresh_engine, forgetful):
    running = fresh_engine.generate(WISH)
    half = [next(running) for _ in range(6)][-1]
    running.close()
    found = last(fresh_engine.branch(WISH, half.ids, 6, 11))
    assert answer(found) == answer(last(forgetful.branch(WISH, half.ids, 6, 11)))


def test_no_more_is_kept_than_the_limit_allows(engine):
    one = 2 * 2 * 16 * 19 * 4 + 50257 * 4  # cache of 19 tokens, and a row of logits
    small = Engine(engine.library, Limits(draft_bytes=2 * one))
    for seed in range(4):
        last(small.generate(replace(WISH, sampling=replace(LIVELY, seed=seed))))
    assert small.writer.drafts.nbytes == 2 * one


def test_a_branch_to_the_end_token_ends_there(fresh_engine):
    whole = last(fresh_engine.generate(WISH))
    found = last(fresh_engine.branch(WISH, whole.ids, 9, 50256))
    assert found.finish_reason == "eos"
    assert found.ids == (*whole.ids[:9], 50256)
    end = last(fresh_engine.branch(WISH, whole.ids, 18, 9))
    assert end.finish_reason == "length"
    assert len(end.steps) == 16


def test_a_branch_of_a_text_that_filled_the_context(fresh_engine):
    wish = replace(WISH, prompt=" the" * 60, max_new_tokens=40)
    whole = last(fresh_engine.generate(wish))
    assert whole.finish_reason == "context"
    assert len(whole.ids) == 65
    found = last(fresh_engine.branch(wish, whole.ids, 64, 9))
    assert found.ids == (*whole.ids[:64], 9)
    assert found.finish_reason == "context"


@pytest.mark.parametrize(
    ("position", "token", "words"),
    [
        (2, 9, "position is 2; position must be a whole number from 3 to 18"),
        (19, 9, "position is 19; .* from 3 to 18"),
        (None, 9, "position is None"),
        (5, 50257, "token is 50257; token must be a whole number from 0 to 50256"),
        (5, -1, "token is -1"),
        (5, "a", "token is 'a'"),
    ],
)
def test_a_branch_that_is_none_is_refused(fresh_engine, position, token, words):
    whole = last(fresh_engine.generate(WISH))
    with pytest.raises(ValueError, match=words):
        last(fresh_engine.branch(WISH, whole.ids, position, token))


def test_a_branch_of_another_text_is_refused(fresh_engine):
    whole = last(fresh_engine.generate(WISH))
    with pytest.raises(ValueError, match="does not begin with the prompt's tokens"):
        last(fresh_engine.branch(WISH, whole.ids[1:], 5, 9))


def test_a_branch_goes_on_past_the_end_of_a_shorter_text(fresh_engine, forgetful):
    """The kept step said that the text was over, and the branch stopped there."""
    longer = replace(WISH, max_new_tokens=30)
    whole = last(forgetful.generate(longer))
    last(fresh_engine.generate(WISH))
    found = last(fresh_engine.branch(longer, whole.ids, 25, 9))
    assert answer(found) == answer(last(forgetful.branch(longer, whole.ids, 25, 9)))
    assert len(found.steps) == 30


def test_a_word_of_several_tokens_is_written_whole(fresh_engine, forgetful):
    """Of " Zimbabwean" the first token was put and the rest left out."""
    whole = last(fresh_engine.generate(WISH))
    word = fresh_engine.catalog.encode(" Zimbabwean", model="tiny")
    assert len(word) > 1
    traces = list(fresh_engine.branch(WISH, whole.ids, 10, word))
    assert len(traces[0].steps) == 10 - len(whole.prompt_ids) + len(word)
    assert traces[-1].ids[:10] == whole.ids[:10]
    assert " Zimbabwean" in traces[-1].completion
    assert traces[-1].ids[10 : 10 + len(word)] == tuple(word)
    assert answer(traces[-1]) == answer(last(forgetful.branch(WISH, whole.ids, 10, word)))


@pytest.mark.parametrize("word", [[], [5] * 1000])
def test_more_tokens_than_there_is_room_for_are_refused(fresh_engine, word):
    whole = last(fresh_engine.generate(WISH))
    with pytest.raises(ValueError, match="there is room for 1 to"):
        fresh_engine.branch(WISH, whole.ids, 10, word)
