"""A number from outside is one, in range and finite, or refused in one sentence."""

import math

import pytest

from gpt2.checks import check_number


@pytest.mark.parametrize(
    ("value", "low", "high", "whole", "said"),
    [
        (0, 1, math.inf, True, "n is 0; n must be a whole number of at least 1"),
        (1.5, 1, math.inf, True, "n is 1.5; n must be a whole number of at least 1"),
        (math.inf, 1, math.inf, True, "n is inf; n must be a whole number of at least 1"),
        (math.inf, 0, math.inf, False, "n is inf; n must be a number of at least 0"),
        (math.nan, 0, math.inf, False, "n is nan; n must be a number of at least 0"),
        (11, 0, 10, False, "n is 11; n must be a number from 0 to 10"),
        (True, 0, 1, True, "n is True; n must be a whole number from 0 to 1"),
        ("3", 0, 9, True, "n is '3'; n must be a whole number from 0 to 9"),
        (10**400, 0, 9, True, "n is far out of range; n must be a whole number from 0 to 9"),
    ],
)
def test_what_is_no_number_of_the_range_is_refused_with_its_limits(value, low, high, whole, said):
    with pytest.raises(ValueError, match="n is ") as error:
        check_number("n", value, low, high, whole=whole)
    assert str(error.value) == said


def test_whole_numbers_come_as_int_and_others_as_float():
    assert type(check_number("n", 60.0, 1, whole=True)) is int
    assert type(check_number("n", 3, 1)) is float
    assert check_number("n", 2**70, 1, whole=True) == 2**70
