"""What is left out is nothing: the same answer as of all pairs, to the last digits, however clusters lie."""

import numpy
import pytest

from minilvm.inference import em_pass
from minilvm.models import MixtureOfGaussians
from minilvm.models.screened_kernel import LEAST_SHARE, NEGLIGIBLE, ScreenedFull
from minilvm.models.whitened_kernels import WhitenedFull

C, D, N = 6, 32, 3000


def problem(separation, seed=0):
    """Clusters whose means are so many deviations apart in each feature, of different weights and covariances."""
    rng = numpy.random.default_rng(seed)
    means = separation / numpy.sqrt(2.0) * rng.standard_normal((C, D))
    factors = 0.1 * numpy.tril(rng.standard_normal((C, D, D)), -1) + numpy.eye(D)
    labels = rng.choice(C, N, p=[0.3, 0.3, 0.2, 0.1, 0.05, 0.05])
    x = means[labels] + numpy.einsum("nij,nj->ni", factors[labels], rng.standard_normal((N, D)))
    return x, MixtureOfGaussians(numpy.full(C, 1 / C), means, 1.2 * factors @ factors.swapaxes(1, 2))


def dense(model):
    kernel = model.kernel()
    assert isinstance(kernel, ScreenedFull)
    return WhitenedFull(*kernel.parameters)


def assert_same(found, expected):
    found = found.around(expected.centres)
    for name in ("counts", "first", "second"):
        a, b = getattr(found, name), getattr(expected, name)
        numpy.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12 * abs(b).max())


@pytest.mark.parametrize(("separation", "k"), [(6.0, 8), (4.0, 16), (1.0, 0), (0.1, 0), (0.0, 0)])
def test_the_answer_is_that_of_all_pairs(separation, k, monkeypatch):
    x, model = problem(separation)
    kernel, every = model.kernel(), dense(model)
    assert kernel.k == k
    table, all_of_it = kernel(x)[0], every(x)[0]
    left_out = numpy.isneginf(table)
    numpy.testing.assert_allclose(table[~left_out], all_of_it[~left_out], rtol=1e-12)
    assert (all_of_it - all_of_it.max(axis=0))[left_out].max(initial=-numpy.inf) < NEGLIGIBLE
    assert (left_out.mean() > 0.5) == (k > 0)
    log_likelihood, statistics = em_pass(model, x)
    monkeypatch.setattr(MixtureOfGaussians, "kernel", lambda _: every)
    expected, of_all = em_pass(model, x)
    numpy.testing.assert_allclose(log_likelihood, expected, rtol=1e-13)
    assert_same(statistics, of_all)


def test_the_bounds_are_bounds_and_tight_where_the_other_features_are_as_expected():
    """E[x | the first k] is where the rest of y is 0."""
    x, model = problem(6.0)
    kernel, every = model.kernel(), dense(model)
    assert (kernel._bounds(x) >= every(x)[0] - 1e-9).all()
    y = numpy.random.default_rng(0).standard_normal((10, D))
    y[:, kernel.k :] = 0.0
    for c in range(C):
        expected = model.means[c] + y @ kernel.factors[c].T
        numpy.testing.assert_allclose(kernel._bounds(expected)[c], every(expected)[0][c], rtol=1e-10)


def test_a_component_that_has_next_to_nothing_has_all_of_that():
    """Its share of every datum is below what is negligible, and its moments are made of nothing else."""
    x, model = problem(6.0)
    means = model.means.copy()
    means[2] += 8.0  # from its cluster
    model = MixtureOfGaussians(model.weights, means, model.covariances)
    kernel = model.kernel()
    log_likelihood, statistics = em_pass(model, x)
    assert 0.0 < statistics.counts[2] < LEAST_SHARE * N
    every = dense(model)
    table, sums = every(x)
    r = numpy.exp(numpy.maximum(table - numpy.logaddexp.reduce(table), -500.0))
    assert_same(statistics, every.statistics(sums(r)))
    expected = every.statistics(sums(r))
    numpy.testing.assert_allclose(statistics.around(expected.centres).first[2], expected.first[2], rtol=1e-9)
    assert type(kernel.again(statistics)) is WhitenedFull
    numpy.testing.assert_allclose(log_likelihood, numpy.logaddexp.reduce(table).sum(), rtol=1e-12)


def test_data_that_are_no_numbers_are_found():
    x, model = problem(6.0)
    x[7, 3] = numpy.nan
    with pytest.raises(ValueError, match=r"x\[7, 3\] is nan"):
        em_pass(model, [x])


def test_the_scale_of_the_weights_has_no_say():
    """What is left out is negligible beside the largest weight; beside 1, all of it would be."""
    x, model = problem(8.0)
    _, expected = em_pass(model, x)
    _, found = em_pass(model, x, sample_weight=numpy.full(N, 1e-23))
    numpy.testing.assert_allclose(found.second, 1e-23 * expected.second, rtol=1e-12, atol=1e-33)


def test_a_kernel_that_stands_in_for_another_is_asked_again(monkeypatch):
    """A component of few data is computed in full; that its digits are lost must not pass because it was."""
    x, model = problem(8.0)
    asked = []
    monkeypatch.setattr(ScreenedFull, "again", lambda kernel, statistics: WhitenedFull(*kernel.parameters))
    monkeypatch.setattr(WhitenedFull, "again", lambda kernel, statistics: asked.append(type(kernel)))
    em_pass(model, x)
    assert asked == [WhitenedFull]
