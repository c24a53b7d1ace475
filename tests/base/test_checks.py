"""Checks of plain values: what passes, what is told, and in which words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sslauth_utils.base.checks import check_choice, check_number, check_whole, is_number, is_whole
from sslauth_utils.base.errors import UserError

WHOLE = st.integers(-1000, 1000)
FLOATS = st.floats(-1e6, 1e6)
NO_NUMBERS = st.booleans() | st.none() | st.text() | st.lists(WHOLE) | st.complex_numbers()


def told(check, *arguments, **more):
    """What `check` says, or None."""
    try:
        assert check("A setting", *arguments, **more) is None
    except UserError as error:
        return str(error)


@given(WHOLE)
def test_whole_numbers_are_whole_and_numbers(value):
    assert is_whole(value) and is_number(value)


@given(FLOATS)
def test_fractions_are_numbers_but_never_whole(value):
    assert is_number(value) and not is_whole(value), "3.0 is no count, though it equals one"


@given(NO_NUMBERS)
def test_truth_text_and_nothing_are_no_numbers(value):
    assert not is_whole(value) and not is_number(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_is_finite(value):
    assert not is_number(value)


@given(value=WHOLE | FLOATS | NO_NUMBERS, least=WHOLE, more=st.none() | st.integers(0, 1000))
def test_a_whole_number_passes_exactly_within_its_bounds(value, least, more):
    most = None if more is None else least + more
    found = told(check_whole, value, least, most)
    good = type(value) is int and least <= value and (most is None or value <= most)
    assert (found is None) == good
    if not good:
        bounds = f"from {least} on" if most is None else f"from {least} to {most}"
        assert found == f"A setting must be a whole number {bounds}, not {value!r}."


@given(value=WHOLE | FLOATS | NO_NUMBERS, low=WHOLE, more=st.none() | st.integers(0, 1000), above=st.booleans())
def test_a_number_passes_exactly_within_its_bounds(value, low, more, above):
    high = math.inf if more is None else low + more
    found = told(check_number, value, low, high, above=above)
    number = type(value) in (int, float)
    good = number and (low < value if above else low <= value) and value <= high
    assert (found is None) == good
    if not good:
        assert found.endswith(f", not {value!r}.")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_bounds_make_an_infinity_a_number(value):
    assert told(check_number, value, -math.inf) == f"A setting must be a number from -inf on, not {value!r}."


@pytest.mark.parametrize(
    ("arguments", "above", "sentence"),
    [
        ((-1, 0), False, "A setting must be a number from 0 on, not -1."),
        ((0, 0), True, "A setting must be a number above 0, not 0."),
        ((2, 0, 1), False, "A setting must be a number from 0 on up to 1, not 2."),
        ((0.0, 0, 1), True, "A setting must be a number above 0 up to 1, not 0.0."),
        (("1e-3", 0.5), False, "A setting must be a number from 0.5 on, not '1e-3'."),
    ],
)
def test_bounds_of_a_number_in_words(arguments, above, sentence):
    assert told(check_number, *arguments, above=above) == sentence


@given(st.sampled_from(["constant", "cosine"]) | st.text())
def test_a_choice_is_one_of_the_choices(value):
    found = told(check_choice, value, ("constant", "cosine"))
    assert (found is None) == (value in ("constant", "cosine"))
    assert found in (None, f"A setting must be one of constant, cosine, not {value!r}.")


@pytest.mark.parametrize("value", [1, 1.0, "True", None])
def test_a_choice_is_of_the_same_kind(value):
    assert told(check_choice, True, (True, False)) is None
    assert told(check_choice, value, (True, False)) == f"A setting must be one of True, False, not {value!r}."


def test_choices_may_come_one_after_the_other():
    for value in ("a", "b"):
        assert told(check_choice, value, iter("ab")) is None
    assert told(check_choice, "c", iter("ab")) == "A setting must be one of a, b, not 'c'."
