"""The prior is the laws that it says it is, and points that nobody has seen."""

import dataclasses

import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from minilvm import tree
from minilvm.models import ConjugatePrior, GaussianStatistics, MixtureOfGaussians, conjugate_prior
from minilvm.models.covariances import COVARIANCE_TYPES
from tests.models.gaussians import TYPES, matrices, of_type, scatters
from tests.testing.helpers import assert_allclose, host, moved


def mixtures(rng, covariance_type, C, D):
    """Weights, means and covariances, drawn at random."""
    factors = rng.standard_normal((C, D, D))
    full = factors @ factors.swapaxes(1, 2) + 0.1 * numpy.eye(D)
    kind = COVARIANCE_TYPES[covariance_type]
    covariances = full[0] if covariance_type == "tied" else numpy.stack([kind.from_full(matrix) for matrix in full])
    return rng.dirichlet(numpy.ones(C)), rng.standard_normal((C, D)), covariances


@pytest.mark.parametrize(
    ("mean", "scale", "message"),
    [
        ([0.0, numpy.nan], numpy.eye(2), "mean is .*; expected finite numbers"),
        ([0.0, 0.0], numpy.array([[1.0, 0.9], [0.0, 1.0]]), "symmetric matrix"),
        ([0.0, 0.0], -numpy.eye(2), "its eigenvalues negative"),
        ([0.0, 0.0], numpy.full((2, 2), numpy.nan), "scale is"),
        ([0.0, 0.0], numpy.array([1.0, -1.0]), "expected variances"),
        ([0.0, 0.0], -1.0, "scale is -1.0"),
    ],
)
def test_what_is_no_law_is_refused(mean, scale, message):
    with pytest.raises(ValueError, match=message):
        ConjugatePrior(numpy.array(mean), 1.0, 4.0, scale)


def textbook(prior, weights, means, covariances, covariance_type):
    """log p(θ) by SciPy's laws."""
    C, D = means.shape
    full = matrices(covariances, covariance_type, C, D)
    log_p = scipy.stats.dirichlet([prior.concentration] * C).logpdf(weights)
    for mean, covariance in zip(means, full, strict=True):
        log_p += scipy.stats.multivariate_normal(prior.mean, covariance / prior.mean_precision).logpdf(mean)
    nu = prior.degrees_of_freedom
    if covariance_type in {"full", "tied"}:
        law = scipy.stats.invwishart(nu, prior.scale)
        return log_p + sum(law.logpdf(covariance) for covariance in (full if covariance_type == "full" else full[:1]))
    return (
        log_p
        + scipy.stats.invgamma(0.5 * nu, scale=0.5 * numpy.broadcast_to(prior.scale, covariances.shape))
        .logpdf(covariances)
        .sum()
    )


@given(st.sampled_from(TYPES), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32))
def test_the_density_is_that_of_the_laws_up_to_a_constant(xp, covariance_type, C, D, seed):
    rng = numpy.random.default_rng(seed)
    here, there = (mixtures(rng, covariance_type, C, D) for _ in range(2))
    scale = {
        "full": numpy.eye(D) * 2.0,
        "tied": numpy.eye(D) * 2.0,
        "diag": rng.uniform(1, 2, D),
        "spherical": numpy.array(1.5),
    }
    prior = ConjugatePrior(rng.standard_normal(D), 0.7, D + 1.5, scale[covariance_type], 2.5)
    on_device = moved(prior)
    found = [on_device.log_density(*moved(parameters), covariance_type) for parameters in (here, there)]
    expected = [textbook(prior, *parameters, covariance_type) for parameters in (here, there)]
    assert_allclose(found[0] - found[1], expected[0] - expected[1], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_prior_that_says_nothing_of_means_has_no_law_of_them(xp, covariance_type):
    rng = numpy.random.default_rng(0)
    (weights, here, covariances), (_, there, _) = (mixtures(rng, covariance_type, 3, 2) for _ in range(2))
    scale = numpy.asarray(COVARIANCE_TYPES[covariance_type].from_full(numpy.eye(2)))
    silent, weak = (ConjugatePrior(numpy.zeros(2), kappa, 4.0, scale) for kappa in (0.0, 1e-12))
    found = [
        moved(silent).log_density(*moved((weights, means, sigma)), covariance_type)
        for means, sigma in ((here, covariances), (there, covariances), (here, 2.0 * covariances))
    ]
    assert_allclose(found[0], found[1], rtol=1e-12)
    expected = [textbook(weak, weights, here, sigma, covariance_type) for sigma in (covariances, 2.0 * covariances)]
    of_means = 3 * numpy.log(2.0)  # what the law of the means, of two features in three components, says of twice Σ
    assert_allclose(found[2] - found[0], expected[1] - expected[0] + of_means, rtol=1e-6)


@given(st.sampled_from(TYPES), st.integers(0, 2**32))
def test_it_stands_for_points_at_its_mean_with_its_scatter(xp, covariance_type, seed):
    """κ of them: the same statistics as if they had been seen."""
    rng = numpy.random.default_rng(seed)
    C, D, kappa = 2, 2, 3
    x, r, centres = rng.standard_normal((10, D)), rng.dirichlet(numpy.ones(C), 10), rng.standard_normal((C, D))
    spread = numpy.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])  # three points whose mean is 0
    scale = COVARIANCE_TYPES[covariance_type].from_full(spread.T @ spread)
    mean = rng.standard_normal(D)
    both = numpy.concatenate([x, mean + spread])
    of_both = numpy.concatenate([r, numpy.ones((kappa, C))])
    expected = of_type(scatters(both, of_both, centres), covariance_type)
    if covariance_type == "tied":  # all components share one Λ
        scale = C * scale
    if covariance_type == "spherical":  # whose scatter is a trace
        scale = D * scale
    seen = GaussianStatistics.from_data(*(xp.asarray(a) for a in (x, r, centres)), covariance_type)
    found = moved(ConjugatePrior(mean, float(kappa), 1.0, numpy.asarray(scale))).add_to(seen)
    assert_allclose(found.second, expected, rtol=1e-9, atol=1e-9)
    assert_allclose(found.counts, r.sum(axis=0) + kappa, rtol=1e-12)
    assert_allclose(
        found.means, host(GaussianStatistics.from_data(both, of_both, centres, covariance_type).means), rtol=1e-9
    )


@pytest.mark.parametrize("covariance_type", TYPES)
def test_their_default_is_wide_and_weak_and_keeps_lone_points_from_collapsing(xp, covariance_type):
    x = numpy.random.default_rng(0).standard_normal((30, 2)) * [1.0, 10.0]
    prior = ConjugatePrior.fraley_raftery(xp.asarray(x), 3, covariance_type)
    assert (prior.mean_precision, prior.degrees_of_freedom, prior.concentration) == (0.01, 4.0, 1.0)
    expected = COVARIANCE_TYPES[covariance_type].from_full(numpy.cov(x.T, ddof=0) / 3.0)
    assert_allclose(prior.scale, expected, rtol=1e-9)
    labels = numpy.zeros((30, 3))
    labels[0, 0] = labels[1:, 1] = 1.0  # one point, the others, and nothing
    fitted = MixtureOfGaussians.from_responsibilities(
        xp.asarray(x), xp.asarray(labels + 1e-300), covariance_type=covariance_type, parameter_prior=prior
    )
    assert all(bool(np_leaf.all()) for np_leaf in map(numpy.isfinite, tree.leaves(host(fitted))))


@given(st.sampled_from(TYPES), st.integers(0, 2**32))
def test_a_weight_is_a_number_of_copies_however_many_points_are_held_at_a_time(xp, covariance_type, seed):
    rng = numpy.random.default_rng(seed)
    x, copies = 1e6 + rng.standard_normal((20, 2)), rng.integers(0, 4, 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conjugate_prior, "CHUNK", 7)
        weights = xp.asarray(copies.astype(float))
        found = ConjugatePrior.fraley_raftery(xp.asarray(x), 3, covariance_type, sample_weight=weights)
    repeated = xp.asarray(numpy.repeat(x, copies, axis=0))
    expected = ConjugatePrior.fraley_raftery(repeated, 3, covariance_type)
    assert_allclose(found.mean, expected.mean, rtol=1e-14)
    assert_allclose(found.scale, expected.scale, rtol=1e-6)


@pytest.mark.parametrize("D", [1, 3])
def test_their_default_covers_the_data_with_components_of_equal_volume(D):
    x = numpy.random.default_rng(0).standard_normal((30, D))
    prior = ConjugatePrior.fraley_raftery(x, 4)
    covariance = numpy.cov(x.T, ddof=0).reshape(D, D)
    numpy.testing.assert_allclose(4.0 * numpy.linalg.det(prior.scale) ** 0.5, numpy.linalg.det(covariance) ** 0.5)
    assert prior.degrees_of_freedom == D + 2.0


def test_units_have_no_say_in_the_default():
    x, units = numpy.random.default_rng(0).standard_normal((30, 3)), numpy.array([1.0, 1e-3, 1e3])
    for covariance_type in ("full", "diag"):
        one, two = (ConjugatePrior.fraley_raftery(data, 2, covariance_type) for data in (x, x * units))
        scale = numpy.outer(units, units) if covariance_type == "full" else units**2
        numpy.testing.assert_allclose(two.scale, one.scale * scale, rtol=1e-9)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_component_that_is_switched_off_has_a_density_where_nothing_is_said_of_weights(xp, covariance_type):
    _, means, covariances = mixtures(numpy.random.default_rng(0), covariance_type, 2, 2)
    scale = COVARIANCE_TYPES[covariance_type].from_full(numpy.eye(2))
    for concentration, finite in ((1.0, True), (1.5, False)):
        prior = moved(ConjugatePrior(numpy.zeros(2), 0.7, 4.0, numpy.asarray(scale), concentration))
        found = prior.log_density(*moved((numpy.array([1.0, 0.0]), means, covariances)), covariance_type)
        assert bool(numpy.isfinite(found)) is finite


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_mean_or_a_scale_of_the_wrong_shape_is_refused(covariance_type):
    x = numpy.random.default_rng(0).standard_normal((30, 2))
    right = ConjugatePrior.fraley_raftery(x, 2, covariance_type)
    shapes = {"full": (3, 3), "tied": (), "diag": (2, 2), "spherical": (2,)}
    for wrong in ({"mean": numpy.zeros(())}, {"scale": numpy.ones(shapes[covariance_type])}):
        prior = dataclasses.replace(right, **wrong)
        with pytest.raises(ValueError, match=rf"the prior's {next(iter(wrong))} has shape .* for '{covariance_type}'"):
            MixtureOfGaussians.from_responsibilities(
                x, numpy.full((30, 2), 0.5), covariance_type=covariance_type, parameter_prior=prior
            )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mean_precision", -1.0),
        ("degrees_of_freedom", numpy.nan),
        ("concentration", 0.5),
        ("mean_precision", numpy.inf),
    ],
)
def test_numbers_that_no_law_has_are_refused(field, value):
    numbers = {"mean_precision": 1.0, "degrees_of_freedom": 4.0, "concentration": 1.0} | {field: value}
    with pytest.raises(ValueError, match=f"{field} is {value}; expected a number of at least"):
        ConjugatePrior(mean=numpy.zeros(2), scale=numpy.eye(2), **numbers)
