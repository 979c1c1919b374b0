"""Gradient estimators, by their exact expectation over all tuples of draws."""

import itertools

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm.autograd import grad
from minilvm.distributions import Bernoulli, Independent, Normal
from minilvm.estimators import CONTRACTS, expectation
from minilvm.models import AmortizedGuide, SigmoidBeliefNetwork
from minilvm.testing import assert_unbiased_gradient, expected_estimate
from minilvm.testing.strategies import arrays
from tests.estimators.helpers import bits, problems
from tests.testing.helpers import assert_allclose, assert_array_equal

ALL = [name for name in CONTRACTS if name != "relax"]


@given(problems(), st.integers(2, 3), st.sampled_from(["none", "leave_one_out"]))
def test_the_score_function_is_unbiased(xp, problem, n_samples, baseline):
    estimate = problem.estimate(n_samples, estimator="score_function", baseline=baseline)
    assert_unbiased_gradient(estimate, problem.exact, bits, problem.logits, n_samples)


def of_its_own(phi):
    """r(z, φ) = cos(φ₀ z₀ + z₁) + φ₁² z₀: here E_q[∇ r], the second term of N12, is not zero."""
    return lambda z: np.cos(phi[0] * z[..., 0] + z[..., 1]) + phi[1] ** 2 * z[..., 0]


@pytest.mark.parametrize("baseline", ["none", "leave_one_out"])
def test_an_integrand_that_depends_on_the_parameters_adds_its_own_slope(xp, baseline):
    phi, step = numpy.array([0.3, -0.7]), 1e-6

    def enumerated(phi):
        p = 1.0 / (1.0 + numpy.exp(-phi))
        states = numpy.array(list(itertools.product([0.0, 1.0], repeat=2)))
        return (numpy.where(states == 1, p, 1 - p).prod(axis=1) * of_its_own(phi)(states)).sum()

    exact = [(enumerated(phi + e) - enumerated(phi - e)) / (2 * step) for e in step * numpy.eye(2)]
    phi, how = xp.asarray(phi), {"estimator": "score_function", "baseline": baseline, "rng": 0}
    sampled = grad(lambda p: expected_estimate(lambda q: expectation(of_its_own(p), q, 3, **how), bits(p), 3))(phi)
    summed = grad(lambda p: expectation(of_its_own(p), bits(p), estimator="exact"))(phi)
    assert_allclose(sampled, exact, rtol=1e-7)
    assert_allclose(summed, exact, rtol=1e-7)


def test_leaving_one_out_of_a_constant_leaves_nothing(xp):
    """Any multiple of the baseline would be unbiased; that of one is the one that takes a constant away."""

    def mean(logits):
        return expectation(
            lambda z: np.full(z.shape[:1], 7.0), bits(logits), 5, estimator="score_function", baseline="leave_one_out"
        )

    assert_array_equal(grad(mean)(xp.asarray([0.3, -1.0])), 0.0)


def test_what_q_never_draws_counts_for_nothing(xp):
    """At a certain q the ELBO is log p(x, z) of the one z that it draws, whatever the log of its zeros."""
    model = SigmoidBeliefNetwork.random(2, 3, rng=0)
    x, z = xp.asarray([[1.0, 0.0, 1.0]]), xp.asarray([0.0, 1.0])
    q = Independent(Bernoulli(probs=z), 1)
    with numpy.errstate(invalid="ignore"):
        bound = expectation(lambda z: model.log_joint(x, z[:, None])[:, 0] - q.log_prob(z), q, estimator="exact")
    assert_allclose(bound, model.log_joint(x, z[None, None])[0, 0], rtol=1e-12)


@pytest.mark.parametrize("estimator", ["reparameterization", "score_function", "exact"])
def test_an_integrand_of_another_shape_is_refused_and_not_broadcast(estimator):
    q = Normal(numpy.zeros(3), 1.0) if estimator == "reparameterization" else Bernoulli(logits=numpy.zeros(3))
    for r in (lambda z: z.sum(axis=1), lambda z: z[..., None]):
        with pytest.raises(ValueError, match=r"r gave shape .* expected \((3|2), 3\)"):
            expectation(r, q, 3, estimator=estimator, rng=0)


@given(arrays(2), st.floats(-3, 3), st.sampled_from(["score_function", "reparameterization"]))
def test_the_value_is_the_plain_mean_over_the_draws(xp, parameters, a, estimator):
    q = Normal(parameters[0], np.exp(parameters[1]))
    found = expectation(lambda z: (z - a) ** 2, q, 5, estimator=estimator, rng=3)
    z = q.sample((5,), rng=3)
    assert_allclose(found, ((z - a) ** 2).mean(axis=0), rtol=1e-12)


@given(arrays(2), st.floats(-3, 3))
def test_reparameterisation_differentiates_through_the_draw(xp, parameters, a):
    """z = μ + σ ε: d/dμ (z − a)² = 2 (z − a), d/d log σ = 2 (z − a) σ ε."""

    def mean(phi):
        return expectation(lambda z: (z - a) ** 2, Normal(phi[0], np.exp(phi[1])), 4, rng=1)

    z = Normal(parameters[0], np.exp(parameters[1])).sample((4,), rng=1)
    expected = np.stack([(2 * (z - a)).mean(), (2 * (z - a) * (z - parameters[0])).mean()])
    assert_allclose(grad(mean)(parameters), expected, rtol=1e-9, atol=1e-9)


def test_unsound_requests_are_refused_with_the_way_out():
    q = bits(numpy.zeros(2))

    def r(z):
        return z.sum(axis=-1)

    with pytest.raises(TypeError, match="score_function"):
        expectation(r, q, 2, estimator="reparameterization", rng=0)
    with pytest.raises(ValueError, match="at least 2"):
        expectation(r, q, 1, estimator="score_function", baseline="leave_one_out", rng=0)
    with pytest.raises(ValueError, match="baseline is 'loo'; expected \"none\""):
        expectation(r, q, 2, estimator="score_function", baseline="loo", rng=0)
    with pytest.raises(ValueError, match="n_samples is 0"):
        expectation(r, q, 0, estimator="score_function", rng=0)
    for unknown in ("reinforce", "vimco"):
        with pytest.raises(ValueError, match='expected "reparameterization"'):
            expectation(r, q, 1, estimator=unknown, rng=0)
    with pytest.raises(TypeError, match=r"q is AmortizedGuide, which is no law of z.*guide\(x\)"):
        expectation(r, AmortizedGuide(np.tanh), 2, rng=0)
    with pytest.raises(TypeError, match="q is NoneType; expected a law of z"):
        expectation(r, None, 2, rng=0)
    with pytest.raises(ValueError, match="goes with"):
        expectation(r, q, 1, estimator="exact", baseline="leave_one_out")
