"""ARM and DisARM, over all pairs of antithetic draws."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm.autograd import grad, stop_gradient
from minilvm.distributions import Bernoulli
from minilvm.estimators import Relax, expectation
from minilvm.estimators.contracts import differential
from minilvm.testing import assert_unbiased_gradient, gradient_moments
from tests.estimators.helpers import bits, one_problem, problems
from tests.testing.helpers import assert_array_equal


@given(problems(), st.integers(1, 2), st.sampled_from(["arm", "disarm"]))
def test_unbiased_whatever_the_number_of_pairs(problem, n_pairs, estimator):
    draws = problem.every_pair(n_pairs)
    estimate = problem.estimate(2 * n_pairs, draws, estimator=estimator)
    assert_unbiased_gradient(estimate, problem.exact, bits, problem.logits, draws)


@given(problems())
def test_what_is_averaged_out_of_arm_was_noise(problem):
    draws = problem.every_pair(1, n=2)  # the square of ½ − u is of degree 2
    arm, disarm = (
        gradient_moments(problem.estimate(2, draws, estimator=name), bits, problem.logits, draws)[1]
        for name in ("arm", "disarm")
    )
    assert (disarm <= arm * (1.0 + 1e-9) + 1e-12).all()


def test_for_one_bit_disarm_has_noise_only_where_the_pair_is_alike():
    """Unlike bits show all there is to see, and alike bits nothing: slope (r₁ − r₀) p (1 − p), or 0."""
    a, seen = numpy.array(0.7), set()
    p = 1.0 / (1.0 + numpy.exp(-a))
    for seed in range(20):
        slope = grad(lambda a: expectation(lambda z: 5.0 * z, Bernoulli(logits=a), 2, estimator="disarm", rng=seed))(a)  # noqa: B023
        seen.add(round(float(slope), 12))
    assert seen == {0.0, round(float(0.5 * 5.0 * max(p, 1.0 - p)), 12)}


def paired_by_hand(problem, draws, *, sign=1.0, mirrored=lambda u, p: 1.0 - u < p):
    """DisARM written out, with a place for two faults."""

    def estimate(q, a):
        p = stop_gradient(q.mean)
        u = draws.random((1, *p.shape))
        b, other = (u < p).astype(float), mirrored(u, p).astype(float)
        value = problem.cost(a)(np.concatenate([b, other]))
        difference = stop_gradient(value[:1] - value[1:])[..., None]
        slope = 0.5 * sign * (difference * (b - other) * np.maximum(p, 1.0 - p)).mean(axis=0)
        return value.mean(axis=0) + (slope * differential(a)).sum(axis=-1)

    return estimate


def test_what_is_written_out_is_disarm():
    problem = one_problem()
    draws = problem.every_pair(1)
    assert_unbiased_gradient(paired_by_hand(problem, draws), problem.exact, bits, problem.logits, draws)


@pytest.mark.parametrize(
    ("fault", "ratio"),
    [({"sign": -1.0}, "-1"), ({"sign": 2.0}, "2"), ({"mirrored": lambda u, p: u < p}, "[-0-9.]+(e-1[5-9])?")],
    ids=["a wrong sign", "a forgotten half", "a pair that is the same bit twice"],
)
def test_faults_are_caught(fault, ratio):
    problem = one_problem()
    draws = problem.every_pair(1)
    with pytest.raises(AssertionError, match=f"a ratio of {ratio}"):
        assert_unbiased_gradient(paired_by_hand(problem, draws, **fault), problem.exact, bits, problem.logits, draws)


def test_an_odd_number_of_draws_is_refused():
    for name in ("arm", "disarm"):
        with pytest.raises(ValueError, match="n_samples is 3; expected an even number"):
            expectation(lambda z: z, Bernoulli(logits=0.0), 3, estimator=name, rng=0)


@pytest.mark.parametrize("name", ["arm", "disarm", "measure_valued", "relax"])
def test_costs_of_minus_infinity_have_no_slope(xp, name):
    """Counted as 0 they would be better than the others, and z would move to where p(x, z) is 0."""
    how = Relax(lambda x: x.sum(axis=-1)) if name == "relax" else name

    def mean(a, others):
        def r(z):
            return np.where(z[..., 0] > 0, -np.inf, z[..., 1] - others)

        return expectation(r, bits(a), 8, estimator=how, rng=0)

    assert mean(xp.zeros(2), 50.0) == -np.inf
    assert_array_equal(grad(mean)(xp.zeros(2), 50.0), 0.0)


def test_a_neighbour_of_minus_infinity_is_no_better_than_the_draws(xp):
    """The draws here are all possible; that what replaces them is not gives no slope towards it."""

    def mean(a):
        r = lambda z: np.where(z[..., 0] > 0, -np.inf, z[..., 1] - 50.0)  # noqa: E731
        return expectation(r, bits(a), 1, estimator="measure_valued", rng=0)

    slope = grad(mean)(xp.asarray([-30.0, 0.5]))
    assert slope[0] == 0
    assert slope[1] > 0
