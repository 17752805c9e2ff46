"""What crosses the engine's border can be pickled and sent, and updates make the whole text."""

import pickle
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from gpt2.engine import Limits, Request, Sampling, Scales

IDS = [10, 20, 30, 40, 50]


def same(one: object, other: object) -> bool:
    if is_dataclass(one):
        return type(one) is type(other) and all(
            same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
        )
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=True)
    return one == other or (one != one and other != other)


def sent(record: object) -> object:
    return pickle.loads(pickle.dumps(record))


@pytest.mark.parametrize(
    "asked",
    [
        lambda i: i.classify("Oil prices climb"),
        lambda i: i.score("Hello big world"),
        lambda i: i.step(IDS, 3, Sampling(), model="tiny"),
        lambda i: i.waterfall(IDS, 3, Sampling(), model="tiny"),
        lambda i: i.logit_lens(IDS, [2, 3], model="tiny"),
        lambda i: i.heads(IDS, model="tiny"),
        lambda i: i.overview(IDS, 0, 2, model="tiny"),
        lambda i: next(i.ablation_maps(IDS, 3, model="tiny")),
        lambda i: next(i.attributions(IDS, 3, 7, method="occlusion", model="tiny")),
        lambda i: i.faithfulness(IDS, 3, 7, model="tiny", quick=True),
    ],
)
def test_an_answer_is_the_same_after_it_was_sent(engine, asked):
    record = asked(engine.inspector)
    assert is_dataclass(record)
    assert same(record, sent(record))


def test_a_request_and_its_updates_are_the_same_and_small(engine):
    request = Request("Hello world", 12, Sampling(temperature=2.0, seed=3), stop="zz")
    scales = Scales.of(engine.catalog.config("tiny"), mlps={0: 0.5})
    assert sent((request, scales, Limits())) == (request, scales, Limits())
    begun = engine.writer.begin(request)
    trace = sent(begun)
    for update in engine.writer.write(request, begun):
        message = pickle.dumps(update)
        assert len(message) < 2000  # the newest token, not the text so far
        trace = trace.with_update(pickle.loads(message))
    whole = list(engine.generate(request))[-1]
    assert (trace.completion, trace.steps, trace.finish_reason) == (
        whole.completion,
        whole.steps,
        whole.finish_reason,
    )


def test_a_text_whose_writer_is_gone_goes_on_with_another(engine, fresh_engine):
    request = Request("Hello world", 12, Sampling(temperature=2.0, seed=3))
    whole = list(engine.generate(request))[-1]
    begun = fresh_engine.writer.begin(request)
    arrived = [step.id for step in whole.steps[:5]]
    *_, last = fresh_engine.writer.write(request, begun, forced=arrived)
    updates = list(fresh_engine.writer.write(request, begun, forced=arrived))
    assert [update.step for update in updates] == list(whole.steps)
    assert last.finish_reason == whole.finish_reason
