"""The law of a mapped draw: against laws that are known by other names, and by its own integral."""

from __future__ import annotations

import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm.autograd import grad
from minilvm.distributions import (
    AffineTransform,
    Bernoulli,
    Exponential,
    ExpTransform,
    Gumbel,
    Independent,
    Laplace,
    LogNormal,
    MultivariateNormal,
    Normal,
    SigmoidTransform,
    SoftplusTransform,
    TanhTransform,
    Transformed,
    Uniform,
)
from tests.distributions import checks
from tests.distributions.helpers import FEW, double_exponential, real_arrays, reals

locs, scales = reals(-5, 5), reals(-1, 1).map(lambda e: 10.0**e)
probabilities = st.one_of(st.floats(0.001, 0.999), reals(-300, -3).map(lambda e: 10.0**e))


def logistic(loc, scale):
    """F⁻¹(u) = μ + s log(u / (1 − u))."""
    return Transformed(Uniform(0.0, 1.0), [SigmoidTransform().inv, AffineTransform(loc, scale)])


TWINS = {  # the same law by two names
    "LogNormal": (lambda m, s: Transformed(Normal(m, s), ExpTransform()), LogNormal),
    "Normal": (lambda m, s: Transformed(Normal(0.0, 1.0), AffineTransform(m, s)), Normal),
    "Normal, reversed": (lambda m, s: Transformed(Normal(-1.0, 1.0), AffineTransform(m - s, -s)), Normal),
    "Laplace": (
        lambda m, s: Transformed(Laplace(2.0, 0.5), [AffineTransform(-1.0, 2.0), AffineTransform(m - 3 * s, s)]),
        Laplace,
    ),
    "Gumbel": (lambda m, s: Transformed(Exponential(1.0), [ExpTransform().inv, AffineTransform(m, -s)]), Gumbel),
    "Uniform": (lambda m, s: Transformed(Uniform(0.0, 1.0), AffineTransform(m, -s)), lambda m, s: Uniform(m - s, m)),
    "Exponential": (
        lambda m, s: Transformed(Gumbel(0.0, 1.0), [AffineTransform(-numpy.log(s), -1.0), ExpTransform()]),
        lambda m, s: Exponential(s),
    ),
}


FALLING = {"Normal, reversed", "Gumbel", "Uniform", "Exponential"}  # for which P(Y ≤ y) = 1 − P(X ≤ x) has to round


@pytest.mark.parametrize("name", TWINS)
@given(locs, scales, probabilities)
def test_it_is_the_law_that_it_should_be(name, loc, scale, p):
    p = max(p, 1e-3) if name in FALLING else p
    ours, theirs = (make(loc, scale) for make in TWINS[name])
    y = theirs.icdf(p)
    assert_allclose(ours.log_prob(y), theirs.log_prob(y), rtol=1e-9, atol=1e-9)
    assert_allclose(ours.cdf(y), p, rtol=1e-9)
    assert_allclose(ours.icdf(p), y, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", TWINS)
def test_beyond_the_ends_is_all_the_mass_or_none(name):
    ours, theirs = (make(0.5, 2.0) for make in TWINS[name])
    y = numpy.array([-numpy.inf, -100.0, -1.5, 0.0, 0.5, 2.5, 100.0, numpy.inf])
    assert_allclose(ours.cdf(y), theirs.cdf(y), rtol=1e-12, atol=1e-15)
    assert_array_equal(ours.icdf([0.0, 1.0]), theirs.icdf([0.0, 1.0]))


@given(locs, scales, reals(-30, 30))
def test_several_bijections(loc, scale, z):
    law, theirs = logistic(loc, scale), scipy.stats.logistic(loc, scale)
    y = loc + scale * z
    checks.assert_log_prob(law, theirs, y, rtol=1e-9, atol=1e-9)
    checks.assert_cdf(law, theirs, min(y, loc), rtol=1e-9)


@pytest.mark.parametrize(
    ("law", "points"),
    [
        (Transformed(Normal(0.3, 1.5), SigmoidTransform()), [0.0, 0.01, 0.5, 0.99, 1.0]),
        (Transformed(Normal(0.3, 0.7), TanhTransform()), [-1.0, -0.9, 0.0, 0.9, 1.0]),
        (Transformed(Normal(-1.0, 2.0), SoftplusTransform()), [0.0, 1e-3, 0.1, 1.0, 10.0, numpy.inf]),
        (Transformed(Uniform(-1.0, 2.0), [AffineTransform(0.0, -2.0), ExpTransform()]), numpy.exp([-4.0, 0.0, 2.0])),
        (Transformed(Gumbel(0.0, 0.5), [TanhTransform(), AffineTransform(3.0, -1.0)]), [2.0, 2.1, 3.0, 3.9, 4.0]),
    ],
)
def test_density_integrates_to_one_and_is_the_slope_of_the_distribution_function(law, points):
    y, w = double_exponential(points)
    p = np.exp(law.log_prob(y))
    assert_allclose((w * p).sum(), 1.0, rtol=1e-7)
    inner = numpy.linspace(points[0] + 0.1, min(points[-1], 5.0) - 0.1, 7)
    assert_allclose(grad(lambda y: law.cdf(y).sum())(inner), np.exp(law.log_prob(inner)), rtol=1e-9)
    assert_allclose(law.icdf(law.cdf(inner)), inner, rtol=1e-9)


def test_a_slope_of_the_wrong_sign_is_caught():
    class Twin(ExpTransform):
        def log_abs_det_jacobian(self, x, y):
            return -x

    y, w = double_exponential([0.0, 0.1, 1.0, 10.0, numpy.inf])
    total = (w * np.exp(Transformed(Normal(0.0, 0.5), Twin()).log_prob(y))).sum()
    assert abs(total - 1.0) > 0.1


# Events and batches ---------------------------------------------------------------------------------------------------


@given(real_arrays((4, 3)), real_arrays((3,), 0.5, 2.0))
def test_slopes_are_summed_over_the_event(x, scale):
    """One log |b| for each of the three numbers of an event, though b is one number."""
    base = Independent(Normal(numpy.zeros(3), scale), 1)
    law = Transformed(base, [AffineTransform(1.0, -3.0), ExpTransform()])
    assert (law.batch_shape, law.event_shape) == ((), (3,))
    y = np.exp(1.0 - 3.0 * x)
    expected = LogNormal(numpy.ones(3), 3.0 * scale).log_prob(y).sum(axis=-1)
    assert_allclose(law.log_prob(y), expected, rtol=1e-9, atol=1e-9)


def test_vectors_that_vary_together():
    """A line of MVN is MVN: y = a + b ∘ x has the factor diag(b) L."""
    factor = numpy.array([[2.0, 0.0], [-1.0, 0.5]])
    a, b = numpy.array([1.0, -1.0]), numpy.array([2.0, 0.25])
    law = Transformed(MultivariateNormal(numpy.zeros(2), scale_tril=factor), AffineTransform(a, b))
    theirs = MultivariateNormal(a, scale_tril=b[:, None] * factor)
    y = numpy.random.default_rng(0).standard_normal((5, 2))
    assert_allclose(law.log_prob(y), theirs.log_prob(y), rtol=1e-12)
    assert_allclose(law.sample(5, rng=0), theirs.sample(5, rng=0), rtol=1e-12)


def test_parameters_of_a_bijection_stretch_the_batch_and_each_law_draws_its_own():
    law = Transformed(Normal(0.0, 1.0), AffineTransform(numpy.zeros((4, 3)), 1.0))
    assert law.batch_shape == (4, 3)
    assert len(numpy.unique(law.sample(rng=0))) == 12
    vectors = Transformed(
        Independent(Normal(numpy.zeros(3), 1.0), 1), AffineTransform(numpy.zeros((4, 1)), numpy.ones(3))
    )
    assert (vectors.batch_shape, vectors.event_shape) == ((4,), (3,))
    assert len(numpy.unique(vectors.sample(rng=0))) == 12


def test_parameters_that_would_stretch_the_event_are_refused():
    """It would be no bijection: three numbers from one."""
    for shape in [(3,), (2, 3)]:
        with pytest.raises(ValueError, match=r"event_shape \(1,\); expected transforms with parameters that broadcast"):
            Transformed(Independent(Normal(numpy.zeros(1), 1.0), 1), AffineTransform(numpy.zeros(shape), 1.0))
    with pytest.raises(ValueError, match=r"Transformed: Normal has batch_shape \(2,\).*shapes \(\), \(3,\)"):
        Transformed(Normal(numpy.zeros(2), 1.0), [ExpTransform(), AffineTransform(numpy.zeros(3), 1.0)])


def test_a_law_of_vectors_has_no_distribution_function():
    law = Transformed(Independent(Normal(numpy.zeros(3), 1.0), 1), ExpTransform())
    for ask in (law.cdf, law.icdf):
        with pytest.raises(NotImplementedError, match=r"Transformed has no .* function in closed form"):
            ask(0.5)


# Impossible values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "outside", "inside"),
    [
        (lambda **o: Transformed(Normal(0.0, 1.0), ExpTransform(), **o), [0.0, -1.0, numpy.inf, numpy.nan], 0.5),
        (lambda **o: Transformed(Normal(0.0, 1.0), SigmoidTransform(), **o), [0.0, 1.0, -1.0, 2.0, numpy.nan], 0.5),
        (lambda **o: Transformed(Normal(0.0, 1.0), TanhTransform(), **o), [-1.0, 1.0, -2.0, numpy.inf], 0.5),
        (lambda **o: Transformed(Normal(0.0, 1.0), SoftplusTransform(), **o), [0.0, -1.0, numpy.inf, numpy.nan], 0.5),
        (lambda **o: Transformed(Normal(0.0, 1.0), AffineTransform(0.0, 1.0), **o), [numpy.inf, numpy.nan], 0.5),
        (lambda **o: Transformed(Uniform(0.0, 1.0), AffineTransform(3.0, -2.0), **o), [0.9, 3.1, numpy.nan], 2.0),
        (
            lambda **o: Transformed(Exponential(1.0), [ExpTransform(), AffineTransform(0.0, 2.0)], **o),
            [1.9, 0.0, -1.0, numpy.inf],
            3.0,
        ),
        (
            lambda **o: Transformed(Independent(Normal(numpy.zeros(2), 1.0), 1), ExpTransform(), **o),
            [[-1.0, 0.5], [0.5, 0.0], [0.5, numpy.nan]],
            [0.5, 0.5],
        ),
        (
            lambda **o: Transformed(Independent(Exponential(numpy.ones(2)), 1), AffineTransform(0.0, -1.0), **o),
            [[1.0, -0.5], [-0.5, 1.0]],
            [-0.5, -0.5],
        ),
    ],
)
def test_what_is_no_image_is_impossible(make, outside, inside):
    checks.assert_impossible(make, outside, inside)


def test_a_refused_value_is_named_as_it_was_given():
    law = Transformed(Uniform(0.0, 1.0), [AffineTransform(0.0, -2.0), ExpTransform()])
    message = (
        r"Transformed: value must be the image by AffineTransform, ExpTransform of what is from low to high; "
        r"value\[1\] is 5.0"
    )
    with pytest.raises(ValueError, match=message):
        law.log_prob([1.0, 5.0])
    with pytest.raises(ValueError, match=r"Transformed: value must be between 0 and 1; value is 2.0"):
        law.icdf(2.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("t", [SigmoidTransform(), TanhTransform()])
def test_no_draw_is_impossible(t, dtype):
    """Half of these would be rounded to an end, and score −inf."""
    law = Transformed(Normal(numpy.zeros(1000, dtype), 100.0), t)
    log_p = law.log_prob(law.sample(rng=0))
    assert numpy.isfinite(log_p).all()


# Draws and derivatives ------------------------------------------------------------------------------------------------


def test_it_is_differentiable():
    loc, scale = numpy.array([-0.5, 0.8]), numpy.array([[0.5], [1.5]])
    y = numpy.array([0.2, 0.7])
    for t in ([SigmoidTransform()], [SoftplusTransform()], [AffineTransform(0.1, -0.5), TanhTransform()]):
        checks.assert_differentiable(Transformed(Normal(loc, scale), t), y, p=y)


def test_draws():
    m, s = numpy.array([-1.0, 0.5]), numpy.array([0.5, 1.5])
    law = Transformed(Normal(m, s), [SoftplusTransform(), AffineTransform(1.0, -2.0)])
    checks.assert_samples(law, lambda y: scipy.stats.norm.sf(numpy.log(numpy.expm1((1.0 - y) / 2.0)), m, s))

    gradient = grad(lambda t: np.sum(Transformed(Uniform(0.0, 1.0), [SigmoidTransform().inv, t]).rsample(9, rng=0)))
    line = gradient(AffineTransform(1.0, 2.0))
    standard = logistic(0.0, 1.0).sample(9, rng=0)
    assert_allclose([line.loc, line.scale], [9.0, standard.sum()], rtol=1e-12)


def test_the_gradient_of_an_expectation():
    law = Transformed(Normal(0.2, 0.5), [ExpTransform(), AffineTransform(-1.0, 2.0)])
    checks.assert_gradient_of_expectation(
        law,
        lambda y: y,
        lambda law: (
            law.transforms[1].loc + law.transforms[1].scale * np.exp(law.base.loc + 0.5 * np.square(law.base.scale))
        ),
    )


def test_draws_are_differentiable_where_the_bases_are_and_constants_anyway():
    law = Transformed(Bernoulli(logits=[0.0, 1.0]), AffineTransform(1.0, numpy.array(2.0)))
    assert not law.reparameterized
    assert set(law.sample(100, rng=0).ravel()) == {1.0, 3.0}
    with pytest.raises(TypeError, match="Bernoulli is not reparameterised"):
        law.rsample(rng=0)
    traced = grad(lambda law: np.sum(law.sample(3, rng=0) * law.transforms[0].loc))(law)
    assert_array_equal(traced.transforms[0].scale, 0.0)


@given(locs, scales)
def test_float32_stays_float32(loc, scale):
    y = numpy.array([0.2, 0.7])
    for t in ([SigmoidTransform()], [SoftplusTransform(), AffineTransform(0.0, -1.0)], [TanhTransform()]):
        law = Transformed(Normal(0.1 * loc, scale), t)
        checks.assert_precision(law, -y if len(t) == 2 else y, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("t", [ExpTransform(), SigmoidTransform(), SoftplusTransform(), TanhTransform()])
@FEW
@given(loc=real_arrays((3,)), scale=real_arrays((2, 1), 0.5, 2.0))
def test_every_backend(xp, t, loc, scale):
    y = numpy.array([[0.1], [0.7]])
    checks.assert_every_backend(xp, Transformed(Normal(loc, scale), t), y)
    shift = Transformed(Independent(Normal(loc, scale), 1), [t, AffineTransform(numpy.array([1.0, 2.0, 3.0]), -2.0)])
    checks.assert_every_backend(xp, shift, numpy.array([1.0, 2.0, 3.0]) - 2.0 * y)
