"""Student's law: against SciPy, mpmath where SciPy is doubtful, the normal law it tends to, and its draws' movement."""

from __future__ import annotations

import mpmath
import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm.autograd import check_grads, grad, hessian
from minilvm.distributions import Normal, StudentT
from minilvm.tape import stop_gradient
from tests.distributions import checks
from tests.distributions.helpers import FEW, real_arrays, reals

degrees = reals(-1.5, 6).map(lambda e: 10.0**e)
locs, scales = reals(-100, 100), reals(-2, 2).map(lambda e: 10.0**e)
theirs = scipy.stats.t


class Exact:
    """Student's law in forty digits."""

    def __init__(self, df, loc=0.0, scale=1.0):
        self.df, self.loc, self.scale = (mpmath.mpf(float(x)) for x in (df, loc, scale))

    @property
    def log_normaliser(self):
        half = self.df / 2
        ratio = mpmath.loggamma(half + mpmath.mpf(0.5)) - mpmath.loggamma(half)
        return ratio - mpmath.log(mpmath.pi * self.df) / 2 - mpmath.log(self.scale)

    def logpdf(self, x):
        with mpmath.workdps(40):
            z = (mpmath.mpf(float(x)) - self.loc) / self.scale
            return float(self.log_normaliser - (self.df + 1) / 2 * mpmath.log1p(z**2 / self.df))

    def entropy(self):
        with mpmath.workdps(40):
            step = mpmath.psi(0, (self.df + 1) / 2) - mpmath.psi(0, self.df / 2)
            return float((self.df + 1) / 2 * step - self.log_normaliser)


@given(degrees, reals(-1e4, 1e4))
def test_density_and_entropy_are_mpmaths_at_any_degree_of_freedom(df, z):
    checks.assert_log_prob(StudentT(df), Exact(df), z, rtol=1e-13, atol=1e-13)
    assert_allclose(StudentT(df).entropy(), Exact(df).entropy(), rtol=1e-12, atol=1e-12)


@given(degrees, locs, scales, reals(-1e4, 1e4))
def test_location_and_scale(df, loc, scale, z):
    law = StudentT(df, loc, scale)
    x = loc + scale * z
    assert_allclose(law.log_prob(x), theirs(df, loc, scale).logpdf(x), rtol=1e-8, atol=1e-8)
    assert_allclose(law.entropy(), theirs(df, loc, scale).entropy(), rtol=1e-8, atol=1e-8)
    assert law.mode == loc


def test_of_infinitely_many_degrees_of_freedom_it_is_the_normal_law():
    z = numpy.linspace(-30.0, 30.0, 7)
    assert_allclose(StudentT(1e15).log_prob(z), Normal(0.0, 1.0).log_prob(z), rtol=1e-12)
    assert_allclose(StudentT(1e15).entropy(), Normal(0.0, 1.0).entropy(), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_tail_is_too_far(dtype):
    z = numpy.array([1e-30, 1.0, 1e10, 1e30], dtype)
    law = StudentT(numpy.array(0.5, dtype))
    assert_allclose(law.log_prob(z), [Exact(0.5).logpdf(x) for x in z], rtol=1e-6)
    assert_allclose(grad(lambda z: law.log_prob(z).sum())(z), -1.5 * z / (0.5 + z.astype(float) ** 2), rtol=1e-5)


@given(reals(-1, 3).map(lambda e: 10.0**e), reals(-1e3, 1e3))
def test_cdf_is_scipys(df, z):
    checks.assert_cdf(StudentT(df), theirs(df), z, rtol=1e-10)


@given(reals(-1, 3).map(lambda e: 10.0**e), st.one_of(st.floats(1e-3, 0.999), reals(-12, -3).map(lambda e: 10.0**e)))
def test_icdf_inverts_the_cdf(df, p):
    law = StudentT(df)
    assert_allclose(law.cdf(law.icdf(p)), p, rtol=1e-9)


def test_the_middle_and_the_ends():
    law = StudentT([0.3, 1.0, 1e6], [0.0, 1.0, 2.0], 3.0)
    assert_allclose(law.cdf(law.loc), 0.5, rtol=1e-15)
    assert_allclose(law.icdf(0.5), law.loc, atol=1e-15)
    assert_array_equal(law.icdf([[0.0], [1.0]]), [[-numpy.inf] * 3, [numpy.inf] * 3])
    assert_array_equal(law.cdf([[-numpy.inf], [numpy.inf]]), [[0.0] * 3, [1.0] * 3])
    assert_allclose(StudentT(1.0).icdf([0.25, 0.75]), [-1.0, 1.0], rtol=1e-14)
    with pytest.raises(ValueError, match=r"StudentT: value must be between 0 and 1; value\[1\] is 1.5"):
        law.icdf([0.0, 1.5, 1.0])


def test_moments_and_those_there_are_not():
    law = StudentT([0.5, 1.0, 1.5, 2.0, 2.5, 10.0], 3.0, 2.0)
    assert_array_equal(law.mean, [numpy.nan] * 2 + [3.0] * 4)
    assert_allclose(law.variance, [numpy.nan] * 2 + [numpy.inf] * 2 + [20.0, 5.0])
    assert_array_equal(law.mode, [3.0] * 6)


@pytest.mark.parametrize("df", [1.0, 3.0, 30.0])
def test_density_integrates_to_one_and_has_the_moments(df):
    checks.assert_integrates(StudentT(df, 1.0, 2.0), [-numpy.inf, -9.0, 1.0, 11.0, numpy.inf], rtol=1e-6)


@FEW
@given(real_arrays((3,), 2.5, 20.0), real_arrays((2, 1)), real_arrays((3,), 0.5, 2.0), real_arrays((2, 3)))
def test_it_is_differentiable(df, loc, scale, x):
    law = StudentT(df, loc, scale)
    checks.assert_differentiable(law, x)
    p = (x + 4.0) / 8.0
    check_grads(lambda law, p: law.icdf(p), [law, p], order=1, rtol=1e-5)
    check_grads(law.icdf, [p], rtol=1e-5)


def test_the_gradient_at_the_centre():
    law = StudentT(3.0, numpy.array([0.0]), 1.0)
    assert_array_equal(grad(lambda x: law.log_prob(x).sum())(numpy.zeros(1)), [0.0])
    assert_allclose(hessian(lambda x: law.log_prob(x).sum())(numpy.zeros(1)), [[-4.0 / 3.0]])
    check_grads(lambda law, x: law.cdf(x), [law, numpy.zeros(1)], order=1)


def test_float32_stays_float32_and_loses_little():
    for df in (1.5, 4.0, 1e4):
        checks.assert_precision(StudentT(df, 1.0, 2.0), numpy.array([-3.0, 1.0, 1.5, 20.0]), rtol=1e-4, atol=1e-4)


@FEW
@given(real_arrays((3,), 2.5, 20.0), real_arrays((2, 1)), real_arrays((3,), 0.5, 2.0), real_arrays((2, 3)))
def test_every_backend(xp, df, loc, scale, x):
    checks.assert_every_backend(xp, StudentT(df, loc, scale), x)


# Draws ----------------------------------------------------------------------------------------------------------------


def test_draws():
    df, loc, scale = numpy.array([0.5, 3.0, 1e4]), numpy.array([0.0, -1.0, 5.0]), numpy.array([1.0, 0.1, 3.0])
    checks.assert_samples(StudentT(df, loc, scale), theirs(df, loc, scale).cdf)
    for df in (0.7, 3.0, 60.0):
        checks.assert_pathwise(StudentT(df, 1.0, 2.0), theirs)
    law = StudentT(numpy.array(12.0), numpy.array(0.5), numpy.array(2.0))
    checks.assert_gradient_of_expectation(law, np.square, lambda law: law.mean**2 + law.variance)


class Still(StudentT):
    """Draws that do not move with ν."""

    def rsample(self, sample_shape=(), *, rng):
        return StudentT(stop_gradient(self.df), self.loc, self.scale, validate_args=False).rsample(
            sample_shape, rng=rng
        )


def test_draws_that_do_not_move_are_caught():
    with pytest.raises(AssertionError, match="parameter 0"):
        checks.assert_pathwise(Still(3.0, 1.0, 2.0), theirs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_draw_is_infinite(dtype):
    law = StudentT(numpy.array([0.005, 0.05], dtype))
    x = law.sample(1000, rng=0)
    assert numpy.isfinite(x).all()
    assert numpy.isfinite(law.log_prob(x)).all()
    assert numpy.isfinite(grad(lambda law: np.tanh(0.5 * law.rsample(1000, rng=0)).sum())(law).df).all()


def test_a_second_derivative_of_a_draw_in_df_is_an_error():
    with pytest.raises(TypeError, match="implicit reparameterisation has no second derivative"):
        hessian(lambda df: StudentT(df).rsample(rng=0).sum())(numpy.array([2.0]))
    assert_array_equal(hessian(lambda scale: StudentT(2.0, 0.0, scale).rsample(rng=0).sum())(numpy.ones(1)), [[0.0]])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (([1.0, 0.0],), r"StudentT: df must be positive; df\[1\] is 0.0"),
        ((numpy.inf,), "StudentT: df must be finite; df is inf"),
        ((1.0, [0.0, numpy.nan]), r"StudentT: loc must be finite; loc\[1\] is nan"),
        ((1.0, 0.0, [[1.0], [-2.0]]), r"StudentT: scale must be positive; scale\[1, 0\] is -2.0"),
        ((numpy.ones(2), numpy.ones(3)), r"df of shape \(2,\) and loc of shape \(3,\) and scale of shape \(\) do not"),
    ],
)
def test_impossible_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        StudentT(*parameters)
