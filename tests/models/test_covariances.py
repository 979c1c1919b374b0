import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from minilvm.models.covariances import COVARIANCE_TYPES, covariance_type_of
from minilvm.testing import gaussian_mixtures
from minilvm.testing.strategies import arrays
from tests.models.gaussians import TYPES, matrices, matrices_of, of_type
from tests.testing.helpers import assert_allclose, host


@given(gaussian_mixtures(), st.data())
def test_each_type_means_the_matrices_that_it_stands_for(xp, model, data):
    kind, (C, D) = COVARIANCE_TYPES[model.covariance_type], model.means.shape
    full = matrices_of(model)
    x = data.draw(arrays(D))
    law = kind.law(model.means, model.covariances)
    parameters = zip(host(model.means), full, strict=True)
    expected = numpy.ravel([scipy.stats.multivariate_normal(m, S).logpdf(host(x)) for m, S in parameters])
    assert_allclose(law.log_prob(x), expected, rtol=1e-9, atol=1e-9)
    half_log_det = kind.half_log_det(kind.factor(model.covariances), D) + xp.zeros(C)
    assert_allclose(half_log_det, 0.5 * numpy.linalg.slogdet(full).logabsdet, rtol=1e-9, atol=1e-9)
    added = kind.add_to_diagonal(model.covariances, 0.5)
    numpy.testing.assert_allclose(matrices(added, model.covariance_type, C, D), full + 0.5 * numpy.eye(D), rtol=1e-12)
    z = xp.arange(C)[::-1]
    numpy.testing.assert_array_equal(matrices(kind.of(model.covariances, z), model.covariance_type, C, D), full[::-1])


@given(gaussian_mixtures(), st.data())
def test_moments_pair_and_average_as_the_type_sums_them(xp, model, data):
    kind, (C, D) = COVARIANCE_TYPES[model.covariance_type], model.means.shape
    a, b = data.draw(arrays((C, D))), data.draw(arrays((C, D)))
    outer = host(a)[:, :, None] * host(b)[:, None, :]
    assert_allclose(kind.pair(a, b), of_type(outer, model.covariance_type), rtol=1e-12, atol=1e-12)
    inner = numpy.trace(numpy.linalg.solve(matrices_of(model), outer + outer.swapaxes(1, 2)), axis1=1, axis2=2).sum()
    both = kind.pair(a, b) + kind.pair(b, a)
    assert_allclose(kind.inner(model.covariances, both), inner, rtol=1e-8, atol=1e-8)
    counts = xp.arange(1.0, C + 1.0)  # N_c points at ±1 in every feature have the variance 1
    ones = xp.ones((C, D))
    ratio = kind.pair(counts[:, None] * ones, ones) / kind.mass(counts, D)
    assert_allclose(kind.variances(ratio), numpy.ones(kind.variances(ratio).shape), rtol=1e-12)


@given(st.sampled_from(TYPES), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**32))
def test_a_covariance_is_read_as_the_type_can_say_it_and_repeated(xp, covariance_type, C, D, seed):
    kind, factor = COVARIANCE_TYPES[covariance_type], numpy.random.default_rng(seed).standard_normal((D, D))
    covariance = factor @ factor.T + numpy.eye(D)
    found = kind.repeated(kind.from_full(xp.asarray(covariance)), C)
    expected = {"full": covariance, "tied": covariance, "diag": numpy.diag(numpy.diag(covariance))}
    expected["spherical"] = numpy.diag(covariance).mean() * numpy.eye(D)
    numpy.testing.assert_allclose(
        matrices(found, covariance_type, C, D), numpy.stack([expected[covariance_type]] * C), rtol=1e-12
    )


def test_a_type_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"covariance_type is 'diagonal'; expected one of 'full', 'tied', 'diag'"):
        covariance_type_of("diagonal")
