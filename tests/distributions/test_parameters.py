"""Parameters become arrays of one precision, and the logarithm of an impossible event is −inf and harmless."""

from __future__ import annotations

import numpy
import pytest
from numpy.testing import assert_array_equal

import minilvm.numpy as np
from minilvm.autograd import check_grads, grad
from minilvm.distributions.parameters import (
    Constraint,
    as_parameters,
    broadcast_parameters,
    exactly_one,
    log_complement,
    log_probability,
    require,
    times_log,
)


def test_numbers_and_integers_take_the_precision_of_the_arrays_beside_them():
    for number in (1, 1.0, True, numpy.int64(1), numpy.arange(3), [1, 2, 3]):
        assert [a.dtype for a in as_parameters(numpy.zeros(3, "float32"), number)] == ["float32", "float32"]
        assert [a.dtype for a in as_parameters(number, number)] == ["float64", "float64"]
    assert [a.dtype for a in as_parameters(numpy.zeros(3, "float32"), numpy.zeros(3))] == ["float32", "float64"]


def test_parameters_are_arrays_of_the_library_of_those_that_are(xp):
    loc, scale = as_parameters(xp.zeros(3), 1.0)
    assert type(scale) is type(loc)


def test_parameters_are_not_copied():
    loc = numpy.zeros(3)
    assert as_parameters(loc)[0] is loc


def test_exactly_one_of_several_is_asked_for_by_name():
    assert exactly_one("Law", a=None, b=0) == "b"
    with pytest.raises(ValueError, match="Law: none given; expected exactly one of a, b"):
        exactly_one("Law", a=None, b=None)
    with pytest.raises(ValueError, match="Law: a and b given; expected exactly one of a, b"):
        exactly_one("Law", a=1, b=2)


@pytest.mark.parametrize(
    ("shape", "offender"), [((), "x is 3"), ((1,), r"x\[0\] is 3"), ((4,), r"x\[2\] is 3"), ((2, 1), r"x\[1, 0\] is 3")]
)
def test_what_is_refused_is_named_by_its_own_index_though_it_meets_a_batch(shape, offender):
    limits = numpy.array([[9, 9, 9, 9], [9, 9, 2, 9]])
    below = Constraint("below the limit", lambda x: x < limits)
    with pytest.raises(ValueError, match=f"Law: x must be below the limit; {offender}$"):
        require("Law", "x", numpy.full(shape, 3), below)


def test_rows_that_are_refused_are_named():
    sums = Constraint("rows that sum to 1", lambda x: x.sum(axis=-1) == 1)
    with pytest.raises(ValueError, match=r"Law: x must be rows that sum to 1; x\[1\] is \[2 3\]"):
        require("Law", "x", numpy.array([[0, 1], [2, 3]]), sums)


def test_shapes_that_do_not_broadcast_are_named():
    assert broadcast_parameters("Law", a=(3, 1), b=(4,)) == (3, 4)
    with pytest.raises(ValueError, match=r"Law: a of shape \(3,\) and b of shape \(4,\) do not broadcast"):
        broadcast_parameters("Law", a=(3,), b=(4,))


def test_the_logarithm_of_zero_is_minus_infinity_without_a_warning():
    assert_array_equal(log_probability(numpy.array([0.0, 1.0])), [-numpy.inf, 0.0])
    assert_array_equal(log_complement(numpy.array([0.0, 1.0])), [0.0, -numpy.inf])
    assert log_complement(1e-300) == -1e-300


def test_an_impossible_event_spreads_no_nan():
    p = numpy.array([0.0, 0.5, 1.0])

    def possible(p):
        return log_probability(p)[1:].sum() + log_complement(p)[:2].sum()

    assert_array_equal(grad(possible)(p), [-1.0, 0.0, 1.0])
    assert_array_equal(grad(lambda p: log_probability(p).sum())(p), [numpy.inf, 2.0, 1.0])
    # the twin: NumPy's own logarithm sends 0/0
    with numpy.errstate(all="ignore"):
        assert numpy.isnan(grad(lambda p: np.log(p)[1:].sum())(p)[0])


def test_a_slope_too_great_for_its_precision_is_infinite_without_a_warning():
    least = numpy.array([1e-45, 0.5], "float32")
    assert_array_equal(grad(lambda p: log_probability(p).sum())(least), [numpy.inf, 2.0])


def test_what_cannot_happen_weighs_nothing():
    p, log_q = numpy.array([0.0, 0.5, 1.0]), numpy.array([-numpy.inf, -numpy.inf, 0.0])
    assert_array_equal(times_log(p, log_q), [0.0, -numpy.inf, 0.0])
    assert_array_equal(grad(lambda p: times_log(p, log_q)[::2].sum())(p), [0.0, 0.0, 0.0])


def test_derivatives_of_the_logarithms():
    p = numpy.array([0.2, 0.9])
    check_grads(log_probability, [p])
    check_grads(log_complement, [p])
    check_grads(times_log, [p, numpy.array([-1.0, -2.0])])
