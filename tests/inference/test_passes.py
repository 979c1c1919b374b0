"""A pass is the E-step and the sums, however the data come: as an array, mapped, in chunks, weighted."""

import tracemalloc

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.inference import e_step, em_pass, fit_em
from minilvm.models import BernoulliMixture, GaussianStatistics, MixtureOfGaussians
from minilvm.models.feature_kernels import FullFeatures
from minilvm.models.kernels import Kernel
from minilvm.models.missing import MarginalizedMixtureOfGaussians as Marginalized
from minilvm.testing import gaussian_mixtures
from tests.testing.helpers import assert_allclose, host, moved

seeds = st.integers(0, 2**32)


def assert_same(found, expected, **tolerance):
    if isinstance(found, GaussianStatistics):
        found = found.around(expected.centres)
    for a, b in zip(tree.leaves(found), tree.leaves(expected), strict=True):
        numpy.testing.assert_allclose(host(a), host(b), **tolerance)


@st.composite
def problems(draw):
    """A mixture, of either sort, and data that it might have made."""
    rng = numpy.random.default_rng(draw(seeds))
    if draw(st.booleans()):
        model = draw(gaussian_mixtures())
        return model, backend.asarray(4.0 * rng.standard_normal((40, model.means.shape[1])))
    C, D = draw(st.integers(1, 3)), 5
    model = BernoulliMixture(rng.dirichlet(numpy.ones(C)), rng.uniform(0.1, 0.9, (C, D)))
    return moved((model, (rng.random((40, D)) < 0.5).astype(float)))


@given(problems())
def test_a_pass_is_an_e_step_and_its_statistics(xp, problem):
    model, x = problem
    responsibilities, log_marginal = e_step(model, x)
    log_likelihood, statistics = em_pass(model, x)
    numpy.testing.assert_allclose(log_likelihood, float(log_marginal.sum()), rtol=1e-10)
    assert_same(statistics, model.statistics(x, responsibilities), rtol=1e-8, atol=1e-8)


@given(problems(), st.integers(1, 7))
def test_data_may_come_in_chunks_again_and_again(xp, problem, n_chunks):
    model, x = problem
    chunks = [x[rows] for rows in numpy.array_split(numpy.arange(len(x)), n_chunks)]
    log_likelihood, statistics = em_pass(model, chunks)
    whole, of_whole = em_pass(model, x)
    numpy.testing.assert_allclose(log_likelihood, whole, rtol=1e-12)
    assert_same(statistics, of_whole, rtol=1e-8, atol=1e-8)


@given(problems(), seeds)
def test_weights_count_points(xp, problem, seed):
    """A point of weight 3 is there three times, one of weight 0 is not there; in chunks too."""
    model, x = problem
    counts = numpy.random.default_rng(seed).integers(0, 4, len(x))
    counts[0] = 1
    repeated = x[xp.asarray(numpy.repeat(numpy.arange(len(x)), counts))]
    weights = xp.asarray(counts.astype(float))
    expected, of_repeated = em_pass(model, repeated)
    pairs = [(x[:13], weights[:13]), (x[13:], weights[13:])]
    for found, statistics in (em_pass(model, x, sample_weight=weights), em_pass(model, pairs)):
        numpy.testing.assert_allclose(found, expected, rtol=1e-10)
        assert_same(statistics, of_repeated, rtol=1e-8, atol=1e-8)


def test_a_point_of_weight_0_is_not_there_however_impossible(xp):
    x = numpy.random.default_rng(0).standard_normal((20, 2))
    model = moved(MixtureOfGaussians.initialise(x, 2, rng=0))
    expected, statistics = em_pass(model, xp.asarray(x))
    with_more = xp.asarray(numpy.concatenate([[[1e200, 0.0]], x, [[1e200, 0.0]]]))
    found, of_more = em_pass(model, with_more, sample_weight=xp.asarray([0.0] + [1.0] * 20 + [0.0]))
    assert found == pytest.approx(expected, rel=1e-13)
    assert_same(of_more, statistics, rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match=r"x\[21\] has probability 0"):
        em_pass(model, with_more, sample_weight=xp.asarray([0.0] + [1.0] * 21))


@pytest.mark.parametrize(("D", "kind"), [(2, MixtureOfGaussians), (24, MixtureOfGaussians), (2, Marginalized)])
def test_a_chunk_of_points_that_are_not_there_adds_nothing(D, kind):
    """By features, screened (`D` is enough for it) and with missing values: no sum is over nothing."""
    x = numpy.random.default_rng(0).standard_normal((60, D)) + 9.0 * (numpy.arange(60) % 2)[:, None]
    drawn = MixtureOfGaussians.initialise(x, 2, rng=0)
    model = kind(drawn.weights, drawn.means, drawn.covariances)
    chunks = [(x[:20], numpy.zeros(20)), (x[20:], numpy.ones(40)), (x[:20], numpy.zeros(20))]
    log_likelihood, statistics = em_pass(model, chunks)
    expected, of_others = em_pass(model, x[20:])
    numpy.testing.assert_allclose(log_likelihood, expected, rtol=1e-13)
    assert_same(statistics, of_others, rtol=1e-10, atol=1e-10)
    with pytest.raises(ValueError, match="the weights of all chunks are 0"):
        em_pass(model, [(x, numpy.zeros(60))])


def test_weights_may_be_a_list():
    x = numpy.random.default_rng(0).standard_normal((20, 2))
    model = MixtureOfGaussians.initialise(x, 2, rng=0)
    assert em_pass(model, x, sample_weight=[2.0] * 20)[0] == pytest.approx(2.0 * em_pass(model, x)[0])


def test_convergence_is_judged_per_unit_of_weight():
    x = numpy.random.default_rng(0).standard_normal((200, 2)) + numpy.arange(200)[:, None] % 2 * 4
    start = MixtureOfGaussians.initialise(x, 2, rng=0)
    plain = fit_em(start, x, tol=1e-5)
    weighted = fit_em(start, x, tol=1e-5, sample_weight=numpy.full(200, 7.0))
    assert len(plain.lower_bounds) == len(weighted.lower_bounds)
    numpy.testing.assert_allclose(weighted.lower_bounds, 7.0 * numpy.array(plain.lower_bounds), rtol=1e-12)


@pytest.mark.parametrize("n", [1, 4095, 4096, 4097, 50_000])
def test_every_point_is_counted_once_whatever_their_number(n):
    x = numpy.random.default_rng(0).standard_normal((n, 2))
    covariances = numpy.stack([numpy.eye(2)] * 2)
    model = MixtureOfGaussians(numpy.full(2, 0.5), numpy.array([[0.0, 0.0], [1.0, 1.0]]), covariances)
    log_likelihood, statistics = em_pass(model, x)
    numpy.testing.assert_allclose(statistics.counts.sum(), n, rtol=1e-12)
    numpy.testing.assert_allclose(log_likelihood, model.log_marginal(x).sum(), rtol=1e-11)
    numpy.testing.assert_allclose(statistics.counts @ statistics.means, x.sum(axis=0), rtol=1e-9)


def test_a_memory_map_is_read_without_being_held(tmp_path):
    x = numpy.random.default_rng(0).standard_normal((30_000, 3))
    x.tofile(tmp_path / "x")
    mapped = numpy.memmap(tmp_path / "x", float, "r", shape=x.shape)
    start = MixtureOfGaussians.initialise(x, 2, rng=0)
    found, expected = fit_em(start, mapped, max_iter=3), fit_em(start, x, max_iter=3)
    assert found.lower_bounds == expected.lower_bounds
    assert_same(found.model, expected.model, rtol=0)


class Everything(Kernel):
    """Says of every datum what it is told."""

    def __init__(self, table):
        self.table = table

    def __call__(self, x):
        return self.table.copy(), lambda r: r


def test_bayes_rule_keeps_a_component_that_cannot_be_at_0_but_for_a_floor(xp):
    """Where a kernel knows no impossible component, it may ask for a floor, which denormals lie below."""
    table = xp.asarray([[0.0, -1e5], [-numpy.inf, -numpy.inf], [-800.0, -1e5]])

    class OneTable:
        def kernel(self):
            kernel = Everything(table)
            kernel.floor = floor
            return kernel

    floor = -numpy.inf
    _, r = em_pass(OneTable(), xp.zeros((2, 1)))
    assert host(r)[1].tolist() == [0.0, 0.0]
    assert host(r)[2].tolist() == [0.0, 0.5]
    floor = -500.0
    _, r = em_pass(OneTable(), xp.zeros((2, 1)))
    numpy.testing.assert_allclose(host(r)[2], [numpy.exp(-500.0), 0.5])


def two_clusters(apart):
    return moved(MixtureOfGaussians(numpy.array([0.3, 0.7]), numpy.array([[0.0], [apart]]), numpy.ones((2, 1, 1))))


@pytest.mark.parametrize("far", [1.0, 19.0, 21.0, 40.0, 1000.0])
def test_a_datum_far_from_every_component_is_shared_like_any_other(xp, far):
    """Its densities would underflow, all of them, if they were not divided by the largest of its own."""
    model, x = two_clusters(1.0), xp.asarray([[0.0], [0.5], [far]])
    log_joint = model.component_log_joint(x)
    log_marginal = np.logsumexp(log_joint, axis=1)
    log_likelihood, statistics = em_pass(model, x)
    numpy.testing.assert_allclose(log_likelihood, float(log_marginal.sum()), rtol=1e-12)
    expected = model.statistics(x, np.exp(log_joint - log_marginal[:, None]))
    assert_same(statistics, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("last", [5.0, 60.0])
def test_responsibilities_are_never_denormals(xp, last, monkeypatch):
    """exp gives them below −708, and they are slow to multiply with; e⁻⁵⁰⁰ is as good as nothing, and is not."""
    seen = []

    def seen_by(kernel, phi, r, then=FullFeatures._sum):
        seen.append(host(r).copy())
        return then(kernel, phi, r)

    monkeypatch.setattr(FullFeatures, "_sum", seen_by)
    em_pass(two_clusters(60.0), xp.linspace(0.0, last, 200)[:, None])
    assert numpy.finfo(float).tiny < seen[0].min() < 1e-200


def nan_in(x):
    x = x.copy()
    x[3, 1] = numpy.nan
    return x


@pytest.mark.parametrize(
    ("data", "weights", "error", "message"),
    [
        (lambda x: iter([x]), None, TypeError, "can be read once; .* give a list of chunks"),
        (lambda x: (row for row in [x]), None, TypeError, "x is a generator, which can be read once"),
        (lambda x: [], None, ValueError, "x has no chunks"),
        (lambda x: [x, nan_in(x)], None, ValueError, r"x\[3, 1\] is nan"),
        (lambda x: [x, x[:, :1]], None, ValueError, r"expected \(N, 2\) to match the model"),
        (lambda x: [x], numpy.ones(20), TypeError, r"give their weights with them, as pairs \(chunk, weights\)"),
        (lambda x: x, numpy.ones(19), ValueError, r"sample_weight has shape \(19,\); expected \(20,\)"),
        (lambda x: x, numpy.ones((20, 1)), ValueError, r"sample_weight has shape \(20, 1\)"),
        (lambda x: x, -numpy.ones(20), ValueError, "sample_weight must be finite and at least 0"),
        (lambda x: x, numpy.full(20, numpy.nan), ValueError, "sample_weight must be finite"),
        (lambda x: x, numpy.zeros(20), ValueError, "sample_weight is 0 for every point"),
        (lambda x: "faithful.csv", None, TypeError, "x is str; expected an array"),
    ],
)
@pytest.mark.parametrize("call", [fit_em, em_pass])
def test_data_that_no_pass_could_read_are_refused(data, weights, error, message, call):
    x = numpy.random.default_rng(0).standard_normal((20, 2))
    with pytest.raises(error, match=message):
        call(MixtureOfGaussians.initialise(x, 2, rng=0), data(x), sample_weight=weights)


@pytest.mark.parametrize("n", [4000, 100_000])
def test_an_impossible_datum_is_named_by_its_place_among_all(n):
    x = numpy.zeros((n, 1))
    x[n - 5] = 1e200
    model = MixtureOfGaussians(numpy.ones(1), numpy.zeros((1, 1)), numpy.ones((1, 1, 1)))
    with pytest.raises(ValueError, match=rf"x\[{n - 5}\] has probability 0 under every component"):
        em_pass(model, x)


def test_an_e_step_wants_an_array():
    with pytest.raises(TypeError, match="x is list; expected an array"):
        e_step(two_clusters(1.0), [[0.0]])


def test_an_e_step_over_many_points_is_that_over_few(xp):
    x = xp.asarray(numpy.random.default_rng(0).standard_normal((5000, 2)))
    model = MixtureOfGaussians.initialise(x, 2, rng=0)
    q, log_marginal = e_step(model, x)
    first, of_first = e_step(model, x[:10])
    assert_allclose(q[:10], first, rtol=1e-12)
    assert_allclose(log_marginal[:10], of_first, rtol=1e-12)
    assert q.shape == (5000, 2)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_a_fit_needs_memory_for_chunks_and_not_for_data(covariance_type):
    """Ten times the data, and no more memory: what is held is a chunk for each thread, and sums."""
    rng = numpy.random.default_rng(0)
    peaks = []
    for n in (100_000, 1_000_000):
        x = rng.standard_normal((n, 4))
        start = MixtureOfGaussians.initialise(x[:1000], 8, rng=0, covariance_type=covariance_type)
        tracemalloc.start()
        fit_em(start, x, max_iter=1, tol=-1.0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 4 * peaks[0]
    assert peaks[1] < 0.75 * x.nbytes
