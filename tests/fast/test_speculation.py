"""Guesses of how a text goes on: from its own repetitions, and none where that does not pay."""

import pytest

from gpt2.fast.speculation import FIRST, MOST, REST, Speculation


@pytest.mark.parametrize(
    ("ids", "most", "guessed"),
    [
        ([1, 2, 3, 4, 5, 1, 2], 2, [3, 4]),
        ([1, 2, 3, 4, 5, 1, 2], 9, [3, 4, 5, 1]),  # FIRST of them
        ([1, 2, 3, 9, 1, 2, 4, 9, 1, 2], 1, [4]),  # the last time counts
        ([7, 1, 2, 3, 9, 8, 1, 2, 4, 9, 7, 1, 2], 1, [3]),  # but more in common counts more
        ([1, 2, 1, 2, 1, 2], 4, [1, 2, 1, 2]),  # round a circle
        ([5, 5, 5], 3, [5, 5, 5]),
        ([1, 2, 3, 4], 4, []),
        ([1], 4, []),
        ([1, 2, 3, 1, 2], 0, []),
    ],
)
def test_a_text_goes_on_as_it_did_before(ids, most, guessed):
    assert Speculation().guess(ids, most) == guessed


def test_a_text_may_grow_by_any_number_of_tokens():
    whole, grown = [n % 7 for n in range(60)], Speculation()
    for length in (1, 2, 5, 6, 20, 21, 60):
        assert grown.guess(whole[:length], 3) == Speculation().guess(whole[:length], 3)


def test_guesses_that_are_right_are_followed_by_more():
    made, ids = Speculation(), [1, 2] * 30
    assert len(made.guess(ids, 99)) == FIRST
    for _ in range(5):
        made.learn(4, 4, len(ids))
    assert len(made.guess(ids, 99)) == MOST
    assert (made.guessed, made.right) == (20, 20)


def test_guesses_that_are_wrong_are_followed_by_none_for_a_while():
    made, ids, tried = Speculation(), [1, 2] * 4, []
    while len(ids) < 400:
        guesses = made.guess(ids, MOST)
        if guesses:
            made.learn(len(guesses), 0, len(ids) + 1)
            tried.append(len(guesses))
        ids = [*ids, ids[-2]]
    assert tried[:4] == [4, 2, 1, 1]
    assert made.right == 0
    assert len(tried) <= 3 + 400 / REST
