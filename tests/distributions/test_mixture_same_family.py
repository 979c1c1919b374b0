"""Mixtures: against their components, and the movement of draws against the distribution functions that stay."""

from __future__ import annotations

import numpy
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm import tree
from minilvm.autograd import check_grads, grad, hessian
from minilvm.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    Delta,
    Dirichlet,
    Exponential,
    Gamma,
    Gumbel,
    Independent,
    Laplace,
    LogNormal,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    StudentT,
    Uniform,
)
from minilvm.distributions.mixture_same_family import WITHOUT_GAPS
from minilvm.tape import stop_gradient
from tests.distributions import checks
from tests.distributions.helpers import FEW, real_arrays
from tests.statistics import assert_drawn_from

LOGITS = numpy.array([0.3, -0.5, 0.8])
LOC, SCALE = numpy.array([-1.0, 0.5, 3.0]), numpy.array([0.5, 1.0, 2.0])
TRIL = numpy.array(
    [[[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [-0.7, 0.3, 0.6]], 0.5 * numpy.eye(3), [[2.0, 0, 0], [1, 1, 0], [1, -1, 1.5]]]
)
LOCS = numpy.array([[0.0, 1.0, 2.0], [1.0, -1.0, 0.0], [-2.0, 0.0, 1.0]])
SCALES = numpy.array([[1.0, 0.5, 2.0], [0.5, 1.0, 1.0], [2.0, 0.7, 0.4]])

OF_NORMALS = MixtureSameFamily(Categorical(logits=LOGITS), Normal(LOC, SCALE))
OF_VECTORS = {
    "Independent": MixtureSameFamily(Categorical(logits=LOGITS), Independent(Normal(LOCS, SCALES), 1)),
    "MultivariateNormal": MixtureSameFamily(Categorical(logits=LOGITS), MultivariateNormal(LOCS, scale_tril=TRIL)),
}
each_of_vectors = pytest.mark.parametrize("law", OF_VECTORS.values(), ids=OF_VECTORS)

ONE_NUMBER = {
    "Beta": Beta(numpy.array([2.0, 0.7]), numpy.array([1.5, 3.0])),
    "Exponential": Exponential(numpy.array([0.5, 3.0])),
    "Gamma": Gamma(numpy.array([0.7, 5.0]), numpy.array([1.0, 2.0])),
    "Gumbel": Gumbel(numpy.array([0.0, 2.0]), numpy.array([1.0, 0.5])),
    "Laplace": Laplace(numpy.array([0.0, 2.0]), numpy.array([1.0, 0.5])),
    "LogNormal": LogNormal(numpy.array([0.0, 1.0]), numpy.array([1.0, 0.5])),
    "Normal": Normal(numpy.array([0.0, 2.0]), numpy.array([1.0, 0.5])),
    "StudentT": StudentT(numpy.array([1.5, 8.0]), numpy.array([0.0, 2.0]), numpy.array([1.0, 0.5])),
}


def weights(logits=LOGITS):
    return scipy.special.softmax(logits, axis=-1)


def factors(law):
    """The Cholesky factors of the components' covariances."""
    components = law.component_distribution
    if isinstance(components, MultivariateNormal):
        return components.scale_tril
    return numpy.stack([numpy.diag(row) for row in components.base.scale])


def cdf(x):
    return (weights() * scipy.stats.norm(LOC, SCALE).cdf(numpy.asarray(x)[..., None])).sum(axis=-1)


# Densities and moments ------------------------------------------------------------------------------------------------


@given(real_arrays((4, 2), -20.0, 20.0), real_arrays((2, 3)), real_arrays((2, 3)), real_arrays((3,), -2.0, 2.0))
def test_the_density_is_the_weighted_sum_far_into_the_tails(x, logits, loc, log_scale):
    law = MixtureSameFamily(Categorical(logits=logits), Normal(loc, numpy.exp(log_scale)))
    log_p = scipy.stats.norm(loc, numpy.exp(log_scale)).logpdf(x[..., None])
    expected = scipy.special.logsumexp(log_p, axis=-1, b=weights(logits))
    assert_allclose(law.log_prob(x), expected, rtol=1e-12, atol=1e-12)
    below = (weights(logits) * scipy.stats.norm(loc, numpy.exp(log_scale)).cdf(x[..., None])).sum(axis=-1)
    assert_allclose(law.cdf(x), below, rtol=1e-12)


def test_density_integrates_to_one_and_has_the_moments():
    checks.assert_integrates(OF_NORMALS, [-numpy.inf, -8.0, -1.0, 3.0, 15.0, numpy.inf])


def test_the_variance_is_within_and_between():
    law = MixtureSameFamily(Categorical(probs=[0.5, 0.5]), Normal([-3.0, 3.0], 1.0))
    assert (law.mean, law.variance, law.stddev) == (0.0, 10.0, 10.0**0.5)
    vectors = OF_VECTORS["MultivariateNormal"]
    second = (weights()[:, None] * (vectors.component_distribution.variance + LOCS**2)).sum(axis=0)
    assert_allclose(vectors.mean, weights() @ LOCS, rtol=1e-14)
    assert_allclose(vectors.variance, second - (weights() @ LOCS) ** 2, rtol=1e-12)


@each_of_vectors
def test_a_mixture_of_vectors_is_no_product_of_mixtures(law):
    x = numpy.random.default_rng(0).standard_normal((5, 3))
    components = [scipy.stats.multivariate_normal(loc, L @ L.T) for loc, L in zip(LOCS, factors(law), strict=True)]
    log_p = numpy.stack([component.logpdf(x) for component in components])
    assert_allclose(law.log_prob(x), scipy.special.logsumexp(log_p, axis=0, b=weights()[:, None]), rtol=1e-11)


def test_bits_and_weights_of_zero():
    law = MixtureSameFamily(Categorical(probs=[0.25, 0.75, 0.0]), Bernoulli(probs=[1.0, 0.0, 0.5]))
    assert_allclose(numpy.exp(law.log_prob([0.0, 1.0])), [0.75, 0.25], rtol=1e-14)
    assert (law.mean, law.variance) == (0.25, 0.1875)
    gradient = grad(lambda law: law.log_prob(1.0))(law)
    assert numpy.isfinite([*gradient.mixture_distribution.parameter, *gradient.component_distribution.parameter]).all()


def test_what_it_has_not():
    for ask in (
        OF_NORMALS.entropy,
        lambda: OF_NORMALS.mode,
        lambda: OF_NORMALS.icdf(0.5),
        OF_NORMALS.enumerate_support,
    ):
        with pytest.raises(NotImplementedError, match="MixtureSameFamily has no"):
            ask()
    with pytest.raises(
        NotImplementedError, match="MixtureSameFamily has no distribution function: it is for laws of one"
    ):
        OF_VECTORS["Independent"].cdf(numpy.zeros(3))


# Shapes and validation ------------------------------------------------------------------------------------------------


def test_batches_of_weights_and_of_components_broadcast():
    components = Normal(numpy.zeros((5, 1, 3)), 1.0)
    law = MixtureSameFamily(Categorical(logits=numpy.zeros((4, 3))), components)
    assert (law.batch_shape, law.event_shape) == ((5, 4), ())
    assert law.mean.shape == law.variance.shape == (5, 4)
    assert law.sample(2, rng=0).shape == law.rsample(2, rng=0).shape == (2, 5, 4)
    assert law.log_prob(numpy.zeros(4)).shape == law.cdf(numpy.zeros(4)).shape == (5, 4)
    images = Independent(Normal(numpy.zeros((3, 4, 2)), 1.0), 2)
    law = MixtureSameFamily(Categorical(logits=numpy.zeros(3)), images).expand((7,))
    assert (law.batch_shape, law.event_shape, law.sample(5, rng=0).shape) == ((7,), (4, 2), (5, 7, 4, 2))
    assert grad(lambda law: law.rsample(5, rng=0).sum())(law).component_distribution.base.loc.shape == (7, 3, 4, 2)


def test_the_support_is_the_union_of_the_components():
    law = MixtureSameFamily(Categorical(probs=[0.5, 0.5]), Uniform([0.0, 2.0], [1.0, 3.0]))
    assert_allclose(law.log_prob([0.5, 2.5]), numpy.log(0.5), rtol=1e-15)
    with pytest.raises(ValueError, match=r"value must be from low to high, for some component; value\[1\] is 1.5"):
        law.log_prob([0.5, 1.5])
    boxes = Independent(Uniform(numpy.array([[0.0, 0.0], [2.0, 2.0]]), numpy.array([[1.0, 1.0], [3.0, 3.0]])), 1)
    law = MixtureSameFamily(Categorical(probs=[0.5, 0.5]), boxes)
    assert_allclose(law.log_prob([[0.5, 0.5], [2.5, 2.5]]), numpy.log(0.5), rtol=1e-15)
    with pytest.raises(
        ValueError, match=r"for some component; value\[1\] is \[0.5 2.5\]"
    ):  # each in one, but not in one
        law.log_prob([[0.5, 0.5], [0.5, 2.5]])
    with pytest.raises(ValueError, match=r"for some component; value is \[0.5 2.5\]"):
        law.expand((3,)).log_prob([0.5, 2.5])
    rows = MixtureSameFamily(Categorical(probs=[0.5, 0.5]), Dirichlet(numpy.ones((2, 3))))
    with pytest.raises(ValueError, match=r"sum to 1, for some component; value\[1\] is \[0.5 0.6 0. \]"):
        rows.log_prob([[0.5, 0.5, 0.0], [0.5, 0.6, 0.0]])


def test_numbers_in_no_support_are_impossible():
    def law(**options):
        return MixtureSameFamily(Categorical(logits=LOGITS), Exponential([1.0, 2.0, 3.0], **options), **options)

    checks.assert_impossible(law, [-1e-30, -1.0, -numpy.inf, numpy.inf, numpy.nan], inside=0.5)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            (Normal(0.0, 1.0), Normal([0.0], 1.0)),
            "Normal and Normal given; expected a Categorical, the law of the label",
        ),
        ((Categorical(logits=LOGITS), LOC), "Categorical and ndarray given; expected a Categorical"),
        ((Categorical(logits=LOGITS), Normal(0.0, 1.0)), r"3 categories, and .* batch_shape \(\); expected \(..., 3\)"),
        ((Categorical(logits=LOGITS), Normal([0.0, 1.0], 1.0)), r"has batch_shape \(2,\); expected \(..., 3\)"),
        (
            (Categorical(logits=numpy.zeros((4, 3))), Normal(numpy.zeros((5, 3)), 1.0)),
            r"MixtureSameFamily: mixture_distribution of shape \(4,\) and components of shape \(5,\) do not broadcast",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        MixtureSameFamily(*parts)


@FEW
@given(real_arrays((2, 3)), real_arrays((3,)), real_arrays((2, 1), 0.5, 2.0), real_arrays((4, 2)))
def test_it_is_differentiable(logits, loc, scale, x):
    checks.assert_differentiable(MixtureSameFamily(Categorical(logits=logits), Normal(loc, scale)), x)


def test_mixtures_of_vectors_are_differentiable():
    x = numpy.random.default_rng(0).standard_normal((2, 3))
    for law in OF_VECTORS.values():
        check_grads(lambda law, x: law.log_prob(x), [law, x])
        check_grads(checks.moments, [law])


def test_float32_stays_float32_and_loses_little():
    checks.assert_precision(OF_NORMALS, numpy.array([-3.0, 0.0, 20.0]), rtol=1e-4, atol=1e-4)
    for law in OF_VECTORS.values():
        checks.assert_precision(law, LOCS + 0.5, rtol=1e-4, atol=1e-4)


@FEW
@given(real_arrays((2, 3)), real_arrays((3,)), real_arrays((2, 1), 0.5, 2.0), real_arrays((4, 2)))
def test_every_backend(xp, logits, loc, scale, x):
    checks.assert_every_backend(xp, MixtureSameFamily(Categorical(logits=logits), Normal(loc, scale)), x)


@each_of_vectors
def test_vectors_on_every_backend(xp, law):
    checks.assert_every_backend(xp, law, LOCS + 0.5)


# Draws ----------------------------------------------------------------------------------------------------------------


def test_draws_follow_the_mixture():
    checks.assert_samples(OF_NORMALS, cdf)


@each_of_vectors
def test_draws_of_vectors_follow_the_mixture_in_every_direction(law):
    """Along a vector a the mixture is one of N(aᵀμ_c, aᵀΣ_c a)."""
    draws = law.sample(50_000, rng=0)
    for a in numpy.random.default_rng(1).standard_normal((5, 3)):
        along = scipy.stats.norm(LOCS @ a, numpy.linalg.norm(a @ factors(law), axis=-1))
        assert_drawn_from(draws @ a, lambda x, along=along: (weights() * along.cdf(x[..., None])).sum(axis=-1))


@pytest.mark.parametrize("wrong", ["labels of another law", "the first component's"])
def test_wrong_draws_are_caught(wrong):
    labels = Categorical(logits=LOGITS if wrong != "labels of another law" else LOGITS[::-1])
    loc = LOC if wrong != "the first component's" else LOC[:1] + numpy.zeros(3)
    with pytest.raises(AssertionError):
        checks.assert_draws_follow(MixtureSameFamily(labels, Normal(loc, SCALE)).sample(50_000, rng=0), cdf)


# How draws move -------------------------------------------------------------------------------------------------------


def rosenblatt(law, x):
    """ε_d = F(x_d | x_1 … x_{d−1}) of each element of x, (n, D); its first d elements are drawn from a mixture too."""
    components, tril = law.component_distribution, factors(law)
    loc = components.loc if isinstance(components, MultivariateNormal) else components.base.loc
    log_w = scipy.special.log_softmax(law.mixture_distribution.parameter)
    epsilon = []
    for d in range(x.shape[-1]):
        z = numpy.stack([numpy.linalg.solve(L, (x - m).T).T for L, m in zip(tril, loc, strict=True)], axis=1)
        log_scale = numpy.log(numpy.diagonal(tril, axis1=-2, axis2=-1)[:, :d]).sum(axis=-1)
        w = scipy.special.softmax(log_w + scipy.stats.norm.logpdf(z[..., :d]).sum(axis=-1) - log_scale, axis=-1)
        epsilon.append((w * scipy.stats.norm.cdf(z[..., d])).sum(axis=-1))
    return numpy.stack(epsilon, axis=-1)


def assert_epsilon_stays(law, n=4):
    """Step the parameters along a direction, and each draw by what its derivatives say: ε changes by O(step²)."""
    rng = numpy.random.default_rng(0)
    many = checks.copies(law, n)
    x = many.sample(rng=1)
    direction = tree.map(lambda leaf: rng.standard_normal(leaf.shape), law)
    if isinstance(law.component_distribution, MultivariateNormal):
        direction = tree.unflatten(law, [*tree.leaves(direction)[:-1], numpy.tril(tree.leaves(direction)[-1])])
    moved = numpy.empty_like(x)
    for d in range(x.shape[-1]):
        gradient = grad(lambda law, d=d: np.sum(law.rsample(rng=1)[..., d]))(many)
        terms = zip(tree.leaves(gradient), tree.leaves(direction), strict=True)
        moved[:, d] = sum((g * v).reshape(n, -1).sum(axis=-1) for g, v in terms)

    def along(t):
        return rosenblatt(tree.map(lambda leaf, v: leaf + t * v, law, direction), x + t * moved)

    h = 1e-4
    assert_allclose((along(h) - along(-h)) / (2 * h), 0.0, atol=1e-7)


@each_of_vectors
def test_draws_of_vectors_move_so_that_epsilon_stays(law):
    assert_epsilon_stays(law)


class OfLabels(MixtureSameFamily):
    """Draws that move as the chosen component does: what differentiating through `sample` would give."""

    def rsample(self, sample_shape=(), *, rng):
        law = self.expand(self.batch_shape)
        rng = numpy.random.default_rng(rng)
        label = law.mixture_distribution.sample(sample_shape, rng=rng)
        draws = law.component_distribution.rsample(sample_shape, rng=rng)
        label = label.reshape(*label.shape, *(1 for _ in range(1 + len(self.event_shape))))
        return np.squeeze(np.take_along_axis(draws, label, axis=-1 - len(self.event_shape)), -1 - len(self.event_shape))


@each_of_vectors
def test_draws_that_move_with_their_component_are_caught(law):
    with pytest.raises(AssertionError):
        assert_epsilon_stays(OfLabels(law.mixture_distribution, law.component_distribution))


@pytest.mark.parametrize("name", ONE_NUMBER)
def test_draws_move_so_that_their_distribution_function_stays(name):
    """∂x/∂θ = −(∂F/∂θ) / p, for each weight and each parameter of each component."""
    law = MixtureSameFamily(Categorical(logits=[0.4, -0.3]), ONE_NUMBER[name])
    many = checks.copies(law, 20)
    x = many.sample(rng=0)
    gradient = tree.leaves(grad(lambda law: np.sum(law.rsample(rng=0)))(many))
    density = numpy.exp(law.log_prob(x))
    for i, leaf in enumerate(tree.leaves(law)):
        for c in range(2):
            h = 1e-3 * max(abs(leaf[c]), 0.1)

            def F(t, i=i, c=c):
                leaves = [a.copy() for a in tree.leaves(law)]
                leaves[i][c] += t
                return tree.unflatten(law, leaves).cdf(x)

            slope = (8.0 * (F(h) - F(-h)) - (F(2 * h) - F(-2 * h))) / (12.0 * h)
            expected = -slope / density
            assert_allclose(gradient[i][:, c], expected, rtol=1e-6, atol=1e-6 * numpy.abs(expected).max())


def test_every_law_of_one_number_that_moves_is_tested_here():
    assert {type(law) for law in ONE_NUMBER.values()} == set(WITHOUT_GAPS)


def mean_square(law):
    return np.square(law.mean) + law.variance


def test_gradients_through_draws_are_those_of_the_expectation():
    checks.assert_gradient_of_expectation(OF_NORMALS, np.square, mean_square)
    for law in OF_VECTORS.values():
        checks.assert_gradient_of_expectation(
            law, lambda x: np.sum(np.square(x), axis=-1), lambda law: np.sum(mean_square(law)), n=5_000
        )


def test_gradients_through_labels_are_biased_and_caught():
    with pytest.raises(AssertionError):
        checks.assert_gradient_of_expectation(
            OfLabels(OF_NORMALS.mixture_distribution, OF_NORMALS.component_distribution), np.square, mean_square
        )


@pytest.mark.parametrize(
    "components",
    [
        Bernoulli(logits=LOGITS),
        Delta(LOC),
        Uniform(LOC, LOC + 1.0),
        Independent(Uniform(LOCS, LOCS + 1.0), 1),
        Dirichlet(numpy.ones((3, 2))),
        LowRankMultivariateNormal(numpy.zeros((3, 2)), numpy.ones((2, 1)), numpy.ones(2)),
    ],
    ids=lambda law: type(law).__name__,
)
def test_where_draws_would_have_to_jump_or_nobody_knows_how_they_move_it_says_so(components):
    law = MixtureSameFamily(Categorical(logits=LOGITS), components)
    assert not law.reparameterized
    with pytest.raises(TypeError, match=r"MixtureSameFamily is not reparameterised.*score_function"):
        law.rsample(rng=0)


def test_over_a_gap_a_draw_would_jump():
    """Why uniform components are refused: the formula gives ∂E[x]/∂π = −1 for what is −2.

    x ~ π U(0, 1) + (1 − π) U(2, 3) moves by −(∂F/∂π) / p, on the average by −∫ (F_1 − F_2) dx over the two intervals;
    the gap between them, which is jumped, holds the other half.
    """
    x, w = numpy.polynomial.legendre.leggauss(20)
    x, w = 0.5 + 0.5 * x, 0.5 * w
    formula = -(w * x).sum() - (w * (1.0 - x)).sum()
    law = lambda p: MixtureSameFamily(Categorical(probs=np.stack([p, 1.0 - p])), Uniform([0.0, 2.0], [1.0, 3.0]))  # noqa: E731
    assert_allclose(formula, -1.0)
    assert_allclose(grad(lambda p: law(p).mean)(numpy.array(0.3)), -2.0)


def test_a_second_derivative_of_a_draw_is_an_error():
    with pytest.raises(TypeError, match="implicit reparameterisation has no second derivative"):
        hessian(lambda loc: MixtureSameFamily(Categorical(logits=LOGITS), Normal(loc, 1.0)).rsample(rng=0))(LOC)


def test_rsample_of_constants_is_sample_and_computes_nothing_more(monkeypatch):
    monkeypatch.setattr(Normal, "cdf", lambda *_: pytest.fail("a distribution function was computed"))
    assert_array_equal(OF_NORMALS.rsample(5, rng=0), OF_NORMALS.sample(5, rng=0))
    assert stop_gradient(OF_NORMALS.rsample(rng=0)).shape == ()
