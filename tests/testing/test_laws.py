"""The laws as checks: each must pass what is right, whatever its size, and see what is wrong, whatever its kind."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm.autograd import stop_gradient
from minilvm.distributions import Bernoulli, Independent
from minilvm.estimators import elbo, expectation, iwae
from minilvm.testing import (
    assert_lower_bound,
    assert_per_draw_order,
    assert_unbiased,
    assert_unbiased_gradient,
    laws,
    log_weight_arrays,
)
from tests.testing.helpers import moved

TABLES = numpy.log([0.02, 0.3]), numpy.log([0.5, 0.5])


def test_a_number_that_is_none_is_no_bound(xp):
    tables = moved(TABLES)
    with pytest.raises(AssertionError, match="nan is above"):
        assert_lower_bound(lambda log_w: elbo(log_w) * numpy.nan, *tables, 2)
    with pytest.raises(AssertionError, match="nan at K = 2"):
        assert_unbiased(lambda log_w: elbo(log_w) * numpy.nan, *tables, 2)
    with pytest.raises(AssertionError, match="by nan nats"):
        assert_per_draw_order(xp.full((2, 1), numpy.nan))


@given(log_weight_arrays(), st.sampled_from([0.0, -1e5, 1e8, -1e12, 1e300]))
def test_the_order_holds_however_large_the_weights(xp, log_w, offset):
    """Rounding of 1e8 is 1e-8, and exp of it no longer 1: normalised weights must sum to 1 all the same."""
    assert_per_draw_order(log_w + offset)


def one_column_wrong(log_w):
    return iwae(log_w) + np.array([0.0, 10.0])


def shrunk_towards_the_elbo(log_w):
    """Between the ELBO and IWAE for every K, and yet falling as K grows."""
    return elbo(log_w) + (iwae(log_w) - elbo(log_w)) / len(log_w) ** 2


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (one_column_wrong, "iwae is above self-normalised mean"),
        (shrunk_towards_the_elbo, "leave-one-out iwae is above iwae"),
        (lambda log_w: elbo(log_w) - 1.0, "elbo is above leave-one-out iwae"),
    ],
)
def test_every_link_of_the_chain_is_looked_at(xp, monkeypatch, fault, message):
    monkeypatch.setattr(laws, "iwae", fault)
    with pytest.raises(AssertionError, match=message):
        assert_per_draw_order(xp.asarray([[0.0, 10.0], [0.0, 0.0], [0.0, 0.0]]))


def two_bits(parameters):
    return Independent(Bernoulli(logits=parameters["a"]), 1)


def probability_of_both(parameters):
    return parameters["scale"] * np.special.expit(parameters["a"]).prod()


def estimated(factor, *, which="a", by=1.0):
    """The score function of scale · [both bits are 1], with the slope in one parameter multiplied by `by`."""

    def estimate(q, parameters):
        slope = by * parameters[which] + (1.0 - by) * stop_gradient(parameters[which])
        scale = slope if which == "scale" else parameters["scale"]
        value = expectation(lambda z: scale * z.prod(axis=-1), q, 2, estimator="score_function", rng=0)
        return factor * value

    return estimate


def test_an_unbiased_gradient_passes_and_a_biased_one_is_named(xp):
    parameters = {"a": xp.asarray([0.3, -0.2]), "scale": xp.asarray(2.0)}
    assert_unbiased_gradient(estimated(1.0), probability_of_both, two_bits, parameters, 2)
    with pytest.raises(AssertionError, match=r"in parameter\['a'\]\[1\], and ∇ exact is .*: a ratio of 1.5$"):
        assert_unbiased_gradient(estimated(1.5), probability_of_both, two_bits, parameters, 2)
    with pytest.raises(AssertionError, match=r"in parameter\['scale'\], and ∇ exact is .*: a ratio of 0.5$"):
        assert_unbiased_gradient(estimated(1.0, which="scale", by=0.5), probability_of_both, two_bits, parameters, 2)
    with pytest.raises(AssertionError, match=r"is nan in parameter\['a'\]\[0\]"):
        assert_unbiased_gradient(estimated(numpy.nan), probability_of_both, two_bits, parameters, 2)


def test_a_gradient_where_there_should_be_none_is_seen_without_a_ratio(xp):
    with pytest.raises(AssertionError, match=r"∇ exact is 0.0$"):
        assert_unbiased_gradient(
            lambda q, a: expectation(lambda z: z.sum(axis=-1), q, 1, estimator="score_function", rng=0),
            lambda a: 0.0 * a.sum(),
            lambda a: two_bits({"a": a}),
            xp.asarray([0.3, -0.2]),
            1,
        )
