"""The Dirichlet law: against SciPy and mpmath, against the beta law, and the movement of its draws."""

from __future__ import annotations

import mpmath
import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm.autograd import grad, hessian
from minilvm.distributions import Beta, Dirichlet
from minilvm.tape import stop_gradient
from tests.distributions import checks
from tests.distributions.helpers import FEW, real_arrays, reals

sizes = st.lists(reals(-2, 5).map(lambda e: 10.0**e), min_size=2, max_size=5).map(numpy.array)


class Exact:
    """The Dirichlet law in forty digits."""

    def __init__(self, alpha):
        with mpmath.workdps(40):
            self.alpha = [mpmath.mpf(float(a)) for a in alpha]
            self.n = sum(self.alpha)

    @property
    def log_beta(self):
        return sum(map(mpmath.loggamma, self.alpha)) - mpmath.loggamma(self.n)

    def logpdf(self, x):
        with mpmath.workdps(40):
            terms = ((a - 1) * mpmath.log(mpmath.mpf(float(w))) for a, w in zip(self.alpha, x, strict=True))
            return float(sum(terms) - self.log_beta)

    def entropy(self):
        with mpmath.workdps(40):
            inner = sum((a - 1) * mpmath.psi(0, a) for a in self.alpha)
            return float(self.log_beta + (self.n - len(self.alpha)) * mpmath.psi(0, self.n) - inner)

    def mean(self):
        return numpy.array([float(a / self.n) for a in self.alpha])

    def var(self):
        with mpmath.workdps(40):
            return numpy.array([float(a * (self.n - a) / (self.n**2 * (self.n + 1))) for a in self.alpha])

    def std(self):
        return numpy.sqrt(self.var())


@given(sizes, st.integers(0, 100))
def test_density_and_moments_are_mpmaths_at_any_size(alpha, seed):
    law = Dirichlet(alpha)
    x = law.sample(rng=seed)
    conditioning = 1e-15 * (alpha.sum() + (numpy.abs(alpha - 1.0) * numpy.abs(numpy.log(x))).sum())
    checks.assert_log_prob(law, Exact(alpha), x, atol=1e-11 + conditioning)
    checks.assert_moments(law, Exact(alpha), rtol=1e-11, atol=1e-11)


@given(real_arrays((3,), 0.25, 20.0))
def test_it_is_scipys(alpha):
    law, theirs = Dirichlet(alpha), scipy.stats.dirichlet(alpha)
    x = law.sample(4, rng=0)
    assert_allclose(law.log_prob(x), [theirs.logpdf(row / row.sum()) for row in x], rtol=1e-9, atol=1e-9)
    assert_allclose(law.entropy(), theirs.entropy(), rtol=1e-9, atol=1e-9)


@given(real_arrays((2,), 0.25, 20.0), real_arrays((5,), 0.0625, 0.9375))
def test_of_two_weights_it_is_the_beta_law(alpha, x):
    beta, pair = Beta(*alpha), numpy.stack([x, 1.0 - x], axis=-1)
    law = Dirichlet(alpha)
    assert_allclose(law.log_prob(pair), beta.log_prob(x), rtol=1e-11, atol=1e-11)
    assert_allclose(law.entropy(), beta.entropy(), rtol=1e-11, atol=1e-11)
    for moment in ("mean", "variance", "mode"):
        assert_allclose(getattr(law, moment)[0], getattr(beta, moment), rtol=1e-11, err_msg=moment)


def test_modes():
    law = Dirichlet([[3.0, 2.0, 0.5], [0.2, 0.5, 0.5], [1.0, 1.0, 0.5]])
    assert_allclose(law.mode, [[2 / 3, 1 / 3, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


def test_the_edges():
    assert_array_equal(Dirichlet([2.0, 1.0, 1.0]).log_prob([0.0, 0.5, 0.5]), -numpy.inf)
    assert_array_equal(Dirichlet([0.5, 1.0, 1.0]).log_prob([0.0, 0.5, 0.5]), numpy.inf)
    assert_allclose(Dirichlet([1.0, 1.0, 1.0]).log_prob([0.0, 0.0, 1.0]), numpy.log(2.0), rtol=1e-14)


def test_what_are_no_weights_is_impossible():
    outside = [[0.5, 0.5, 0.1], [1.5, -0.5, 0.0], [numpy.nan, 0.5, 0.5], [numpy.inf, 0.0, 0.0], [-1e-9, 0.5, 0.5]]
    for alpha in ([0.5, 1.0, 3.0], [2.0, 2.0, 1e5]):
        checks.assert_impossible(
            lambda alpha=alpha, **options: Dirichlet(alpha, **options), outside, inside=[0.25, 0.25, 0.5]
        )
    with pytest.raises(ValueError, match=r"Dirichlet: value must be numbers from 0 on that sum to 1; value\[1\] is"):
        Dirichlet([1.0, 1.0]).log_prob([[0.5, 0.5], [0.5, 0.6]])


@FEW
@given(real_arrays((2, 3), 0.5, 12.0), real_arrays((4, 1, 3), -1.0, 1.0))
def test_it_is_differentiable(alpha, a):
    checks.check_grads(lambda law, a: law.log_prob(np.softmax(a)), [Dirichlet(alpha), a])
    checks.check_grads(checks.moments, [Dirichlet(alpha)])


def test_the_gradient_in_the_weights_is_that_of_the_formula():
    alpha, x = numpy.array([0.5, 1.0, 3.0]), numpy.array([0.25, 0.25, 0.5])
    assert_allclose(grad(Dirichlet(alpha).log_prob)(x), (alpha - 1.0) / x, rtol=1e-14)


def test_float32_stays_float32_and_loses_little():
    for alpha in ([0.2, 0.5], [1.0, 3.0, 5.0], [100.0, 50.0, 200.0]):
        law = Dirichlet(alpha)
        checks.assert_precision(law, law.mean, rtol=1e-4, atol=1e-4)


@FEW
@given(real_arrays((2, 3), 0.5, 12.0), real_arrays((4, 1, 3), -1.0, 1.0))
def test_every_backend(xp, alpha, a):
    checks.assert_every_backend(xp, Dirichlet(alpha), np.softmax(a))


# Draws ----------------------------------------------------------------------------------------------------------------

ALPHA = numpy.array([0.3, 2.0, 5.0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_have_beta_margins_and_are_independent_of_one_another(dtype):
    """Of x_0, and of the share that x_1 has in the rest, which is independent of x_0."""
    x = Dirichlet(ALPHA.astype(dtype)).sample(50_000, rng=0)
    assert x.dtype == dtype
    assert_allclose(x.sum(axis=-1), 1.0, rtol=1e-6)
    x = x.astype(float)
    broken = numpy.stack([x[:, 0], x[:, 1] / (x[:, 1] + x[:, 2])], axis=-1)
    checks.assert_draws_follow(broken, scipy.stats.beta([0.3, 2.0], [7.0, 5.0]).cdf)


def assert_right_gradient(law):
    """E[x_0 x_1 (1 + x_2)] in closed form: E Π x_k^r_k = Π Γ(α_k + r_k) / Γ(α_k) · Γ(n) / Γ(n + Σ r)."""

    def expectation(law):
        a = law.concentration
        n = a.sum()
        return a[0] * a[1] / (n * (n + 1.0)) * (1.0 + a[2] / (n + 2.0))

    checks.assert_gradient_of_expectation(law, lambda x: x[:, 0] * x[:, 1] * (1.0 + x[:, 2]), expectation)


def test_draws_move_so_that_expectations_do():
    assert_right_gradient(Dirichlet(ALPHA))


class Scaled(Dirichlet):
    """Draws that move as the mean does, all by the same factor."""

    def rsample(self, sample_shape=(), *, rng):
        x = stop_gradient(super().rsample(sample_shape, rng=rng))
        return x * self.mean / stop_gradient(self.mean)


def test_draws_that_move_otherwise_are_caught():
    with pytest.raises(AssertionError):
        assert_right_gradient(Scaled(ALPHA))


def test_each_weight_moves_with_its_own_concentration_as_a_beta_draw():
    """Given by the derivative along α_k of the distribution function of Beta(α_k, n − α_k), and the others give way."""
    law = Dirichlet(ALPHA)
    x = law.sample(rng=1)
    for k, rest in enumerate(ALPHA.sum() - ALPHA):
        moved = [grad(lambda law, j=j: law.rsample(rng=1)[j])(law).concentration[k] for j in range(3)]
        h, cdf = 1e-5, scipy.stats.beta.cdf
        own = (cdf(x[k], ALPHA[k] - h, rest) - cdf(x[k], ALPHA[k] + h, rest)) / (2 * h)
        own /= scipy.stats.beta.pdf(x[k], ALPHA[k], rest)
        assert_allclose(moved, [own if j == k else -own * x[j] / (1 - x[k]) for j in range(3)], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_next_to_an_edge_are_no_edge(dtype):
    law = Dirichlet(numpy.array([[1e-3, 1e-3, 1e-3], [1e5, 1e-3, 1.0]], dtype))
    x = law.sample(1000, rng=0)
    assert (x > 0).all()
    assert numpy.isfinite(law.log_prob(x)).all()
    assert numpy.isfinite(grad(lambda law: (law.rsample(1000, rng=0) ** 2).sum())(law).concentration).all()


def test_one_weight_is_1_and_does_not_move():
    law = Dirichlet([2.0])
    assert law.sample(rng=0) == 1.0
    assert law.log_prob([1.0]) == law.variance == 0.0
    assert_array_equal(grad(lambda law: law.rsample(rng=0).sum())(law).concentration, [0.0])


def test_a_second_derivative_of_a_draw_is_an_error():
    with pytest.raises(TypeError, match="implicit reparameterisation has no second derivative"):
        hessian(lambda alpha: Dirichlet(alpha).rsample(rng=0)[0])(numpy.array([2.0, 1.0]))


@pytest.mark.parametrize(
    ("alpha", "message"),
    [
        ([[1.0, 2.0], [0.0, 1.0]], r"Dirichlet: concentration must be positive; concentration\[1, 0\] is 0.0"),
        ([1.0, numpy.nan], r"Dirichlet: concentration must be finite; concentration\[1\] is nan"),
        (1.0, r"Dirichlet: concentration has shape \(\); expected \(..., K\)"),
    ],
)
def test_impossible_parameters_are_refused(alpha, message):
    with pytest.raises(ValueError, match=message):
        Dirichlet(alpha)
