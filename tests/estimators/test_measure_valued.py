"""Measure-valued gradients: each pair of measures has the derivative of the density for its difference."""

import math

import numpy
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm.autograd import grad
from minilvm.distributions import Bernoulli, Exponential, Gamma, Independent, Normal, Poisson
from minilvm.estimators import expectation
from minilvm.estimators.contracts import MEASURES
from minilvm.estimators.measure_valued import _DERIVATIVES, WeakDerivative
from minilvm.testing import (
    Quadrature,
    assert_unbiased_gradient,
    exponential_rule,
    gradient_moments,
    normal_rule,
    uniform_rule,
)
from minilvm.testing.strategies import arrays, reals
from tests.estimators.helpers import bits, problems
from tests.statistics import assert_drawn_from
from tests.testing.helpers import assert_allclose


@given(problems(), st.integers(1, 2))
def test_of_bits(problem, n_samples):
    draws = problem.every_draw(n_samples)
    estimate = problem.estimate(n_samples, draws, estimator="measure_valued")
    assert_unbiased_gradient(estimate, problem.exact, bits, problem.logits, draws)


def test_of_a_single_bit_there_is_no_noise_at_all():
    draws = Quadrature([uniform_rule(1, cuts=[0.3])])
    _, variance = gradient_moments(
        lambda q, p: expectation(np.exp, q, estimator="measure_valued", rng=draws),
        lambda p: Bernoulli(probs=p),
        numpy.array(0.3),
        draws,
    )
    assert variance < 1e-30


def rayleigh_rule():
    """For a standard exponential ε of which √(2ε) is used: Gauss-Legendre in R, of density R exp(−R²/2)."""
    u, w = uniform_rule(50)
    R = 11.0 * u
    return 0.5 * R**2, 11.0 * w * R * numpy.exp(-0.5 * R**2)


@given(arrays(2), arrays(4, 2.0))
def test_of_normals(parameters, c):
    """E[c₀ + c₁ z + c₂ z² + c₃ z³] = c₀ + c₁ μ + c₂ (μ² + σ²) + c₃ (μ³ + 3 μ σ²): exact, term by term."""
    phi = {"loc": parameters[0], "log_scale": parameters[1] / 3.0}
    # z, then for μ Rayleigh's R = √(2ε), then for σ three normals and a uniform: all that is drawn, in order
    draws = Quadrature([normal_rule(4), rayleigh_rule(), *[normal_rule(4)] * 3, uniform_rule(2)])

    def polynomial(z):
        return c[0] + z * (c[1] + z * (c[2] + z * c[3]))

    def exact(phi):
        mu, var = phi["loc"], np.exp(2.0 * phi["log_scale"])
        return c[0] + c[1] * mu + c[2] * (mu**2 + var) + c[3] * (mu**3 + 3.0 * mu * var)

    assert_unbiased_gradient(
        lambda q, phi: expectation(polynomial, q, estimator="measure_valued", rng=draws),
        exact,
        lambda phi: Normal(phi["loc"], np.exp(phi["log_scale"])),
        phi,
        draws,
    )


def test_the_measures_of_a_normal_are_rayleighs_and_maxwells():
    n = 200_000
    q = Normal(numpy.full(n, 1.0), 2.0)
    in_loc, in_scale = _DERIVATIVES[Normal](q, q.sample(rng=0), numpy.random.default_rng(1))
    assert_drawn_from((in_loc.plus - 1.0) / 2.0, lambda x: -numpy.expm1(-0.5 * x**2))
    assert_allclose(in_loc.plus + in_loc.minus, 2.0, rtol=1e-14)

    def two_sided_maxwell(x):
        return q_cdf(x) - x * numpy.exp(-0.5 * x**2) / math.sqrt(2.0 * math.pi)

    def q_cdf(x):
        return Normal(0.0, 1.0).cdf(x)

    assert_drawn_from((in_scale.plus - 1.0) / 2.0, two_sided_maxwell)
    assert_drawn_from((in_scale.minus - 1.0) / 2.0, q_cdf)
    with pytest.raises(AssertionError, match="differ"):
        assert_drawn_from((in_scale.plus - 1.0) / 2.0, q_cdf)
    assert in_loc.constant == pytest.approx(1.0 / (2.0 * math.sqrt(2.0 * math.pi)))
    assert in_scale.constant == 0.5


@given(reals(2.0), arrays(3, 2.0))
def test_of_poissons(log_rate, c):
    """Over all counts that have any weight: Σ_z q(z) (r(z + 1) − r(z)) is the slope of Σ_z q(z) r(z)."""
    z, rate = numpy.arange(150.0), numpy.exp(log_rate)

    def r(z):
        return c[0] * np.cos(z) + c[1] * z + c[2] * z**2

    (weak,) = _DERIVATIVES[Poisson](Poisson(rate), z, None)
    found = (numpy.exp(Poisson(rate).log_prob(z)) * weak.constant * (r(weak.plus) - r(weak.minus))).sum()
    exact = grad(lambda rate: (np.exp(Poisson(rate).log_prob(z)) * r(z)).sum())(rate)
    numpy.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-9)


def test_a_mean_of_counts_has_a_slope_of_one_without_noise():
    slope = grad(lambda rate: expectation(lambda z: z, Poisson(rate), 3, estimator="measure_valued", rng=0))(2.5)
    assert slope == 1.0


@given(reals(2.0), arrays(3, 2.0))
def test_of_exponentials(log_rate, c):
    """E[c₀ z + c₁ z² + c₂ z³] = c₀/λ + 2 c₁/λ² + 6 c₂/λ³."""
    draws = Quadrature([exponential_rule(3)] * 2)
    assert_unbiased_gradient(
        lambda q, a: expectation(
            lambda z: z * (c[0] + z * (c[1] + z * c[2])), q, estimator="measure_valued", rng=draws
        ),
        lambda a: c[0] * np.exp(-a) + 2.0 * c[1] * np.exp(-2.0 * a) + 6.0 * c[2] * np.exp(-3.0 * a),
        lambda a: Exponential(np.exp(a)),
        numpy.array(log_rate),
        draws,
    )


@given(reals(2.0), reals(1.0), arrays(2, 2.0))
def test_of_gammas_in_their_rate(log_rate, log_concentration, c):
    """Nodes of Gauss's rule for z^(α−1) e^−z as the draws: Σ w c (r(z) − r(z + ε)) is the slope of E[c₀ z + c₁ z²]."""
    alpha, rate = numpy.exp(log_concentration), numpy.exp(log_rate)
    t, w = scipy.special.roots_genlaguerre(4, alpha - 1.0)
    t_more, w_more = exponential_rule(4)
    nodes = numpy.stack(numpy.meshgrid(t, t_more, indexing="ij")).reshape(2, -1)
    probability = numpy.outer(w / w.sum(), w_more).ravel()

    class Waits:
        def standard_exponential(self, shape, dtype):
            return nodes[1]

    def r(z):
        return c[0] * z + c[1] * z**2

    (weak,) = _DERIVATIVES[Gamma](Gamma(alpha, rate), nodes[0] / rate, Waits())
    found = (probability * weak.constant * (r(weak.plus) - r(weak.minus))).sum()
    exact = -c[0] * alpha / rate**2 - 2.0 * c[1] * alpha * (alpha + 1.0) / rate**3
    numpy.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-9 * max(1.0, rate**-3))


def test_the_concentration_of_a_gamma_has_no_pair_and_says_so():
    with pytest.raises(TypeError, match='no pair for the concentration of Gamma: use "reparameterization"'):
        grad(lambda a: expectation(lambda z: z, Gamma(a, 1.0), 2, estimator="measure_valued", rng=0))(2.0)


def test_of_several_elements_of_which_some_parameters_are_constants(xp):
    """r = z₀² z₁: elements that wait for each other. Only λ is differentiated, and only λ is paid for."""
    rows = []

    def mean(loc):
        q = Independent(Normal(loc, xp.asarray([0.5, 2.0])), 1)

        def r(z):
            rows.append(len(z))
            return z[..., 0] ** 2 * z[..., 1]

        return expectation(r, q, 20_000, estimator="measure_valued", rng=0)

    slope = grad(mean)(xp.asarray([1.0, 3.0]))
    assert rows == [20_000, 40_000, 40_000]
    exact = xp.asarray([2 * 1.0 * 3.0, 1.0 + 0.25])
    assert (abs(slope - exact) < 0.2 * exact).all()


FAULTS = {
    "half the constant": lambda weak: WeakDerivative(weak.parameter, 0.5 * weak.constant, weak.plus, weak.minus),
    "the pair the wrong way round": lambda weak: WeakDerivative(weak.parameter, weak.constant, weak.minus, weak.plus),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_are_caught(monkeypatch, fault):
    right = _DERIVATIVES[Exponential]
    monkeypatch.setitem(_DERIVATIVES, Exponential, lambda *args: [fault(weak) for weak in right(*args)])
    with pytest.raises(AssertionError, match=r"a ratio of (0.5|-1)"):
        test_of_exponentials.hypothesis.inner_test(0.3, numpy.ones(3))


def test_the_contract_names_the_laws_that_have_measures():
    laws = {
        Normal: Normal(0.0, 1.0),
        Bernoulli: Bernoulli(logits=0.0),
        Poisson: Poisson(1.0),
        Exponential: Exponential(1.0),
        Gamma: Gamma(2.0, 1.0),
    }
    assert set(laws) == set(_DERIVATIVES)
    assert all(MEASURES.met(q) for q in laws.values())
