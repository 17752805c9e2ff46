"""What an engine tells of itself: an operator sees how it is, and what it has done."""

import pytest

from gpt2.engine import Engine, Request
from gpt2.records import BOUNDS, Times


@pytest.fixture
def own_engine(model_directory, classifier_directory):
    made = Engine.load(str(model_directory), str(classifier_directory), device="cpu")
    yield made
    made.close()


def test_texts_are_counted_by_how_they_ended_and_tokens_all_together(own_engine):
    list(own_engine.generate(Request("It rains", max_new_tokens=5)))
    begun = own_engine.generate(Request("It snows", max_new_tokens=50))
    next(begun)
    begun.close()
    own_engine.library.scheduler.run(lambda: None)  # a round later it has let go
    pulse = own_engine.pulse()
    assert pulse.alive
    assert pulse.texts == {"length": 1, "cancelled": 1}
    assert pulse.tokens >= 6
    assert sum(pulse.first.counts) == 2
    assert 1 <= sum(pulse.steps.counts) <= pulse.tokens
    assert 0 < pulse.steps.seconds < pulse.first.seconds + 60
    assert pulse.writing == 0


def test_an_engine_that_was_closed_is_not_alive(own_engine):
    own_engine.close()
    assert not own_engine.pulse().alive


def test_an_engine_that_stands_still_in_its_work_is_not_alive(own_engine, monkeypatch):
    """A page that answers nobody looked well, and was not started again."""
    monkeypatch.setattr("gpt2.engine.tally.STUCK", 0.0)
    seen = own_engine.library.scheduler.run(lambda: own_engine.pulse().alive)
    assert not seen
    assert own_engine.pulse().alive


def test_times_are_counted_by_their_bounds():
    times = Times()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] + 1e-6, 1e3):
        times = times.plus(seconds)
    assert times.counts == (2, 1, *(0,) * (len(BOUNDS) - 2), 1)
    assert times.seconds == pytest.approx(1000 + 2 * BOUNDS[0], abs=1e-3)
