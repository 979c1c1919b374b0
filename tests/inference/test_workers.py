"""Threads, processes and a cluster do what one thread does, to the bit; and one that dies takes nothing with it."""

import multiprocessing
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy
import pytest
import threadpoolctl

from minilvm import tree
from minilvm.inference import WorkerLostError, em_pass, fit_em
from minilvm.inference import workers as module
from minilvm.models import MixtureOfGaussians
from tests.inference.fragile import FragileMixture


def problem(n=30_000):
    """Data of many shards, weights, and a start that EM does not leave at once."""
    rng = numpy.random.default_rng(0)
    x = rng.standard_normal((n, 3)) + 3.0 * rng.integers(0, 2, (n, 1))
    return x, rng.gamma(2.0, size=n), MixtureOfGaussians.initialise(x, 3, rng=1)


def bits(result):
    return [leaf.tobytes() for leaf in tree.leaves(result.model)], result.lower_bounds


@pytest.fixture(scope="module")
def processes():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.fixture(scope="module")
def one_thread():
    """The answer of a single thread."""
    x, weight, start = problem()
    with ThreadPoolExecutor(1) as executor:
        return bits(fit_em(start, x, sample_weight=weight, max_iter=3, executor=executor))


@pytest.mark.parametrize("n_workers", [1, 2, 3, 7])
def test_threads_of_any_number_give_the_bits_of_one(monkeypatch, one_thread, n_workers):
    x, weight, start = problem()
    monkeypatch.setattr(module, "n_cores", lambda: n_workers)  # of the default, which is threads too
    assert bits(fit_em(start, x, sample_weight=weight, max_iter=3)) == one_thread
    with ThreadPoolExecutor(n_workers) as executor:
        assert bits(fit_em(start, x, sample_weight=weight, max_iter=3, executor=executor)) == one_thread


def test_processes_give_the_bits_of_one_thread_and_are_sent_the_data_once(processes, one_thread, tmp_path):
    x, weight, start = problem()
    assert bits(fit_em(start, x, sample_weight=weight, max_iter=3, executor=processes)) == one_thread
    x.tofile(tmp_path / "x")
    mapped = numpy.memmap(tmp_path / "x", float, "r", shape=x.shape)
    assert bits(fit_em(start, mapped, sample_weight=weight, max_iter=3, executor=processes)) == one_thread
    sizes = []

    class Counting(ProcessPoolExecutor):
        def submit(self, f, *args):
            sizes.append(len(multiprocessing.reduction.ForkingPickler.dumps(args)))
            return processes.submit(f, *args)

    with Counting(1) as counting:
        fit_em(start, x, sample_weight=weight, max_iter=3, executor=counting)
    assert max(sizes) < 0.02 * x.nbytes


def test_chunks_as_they_come_are_shared_and_few_are_held(processes):
    x, weight, start = problem(20_000)
    alive, most = 0, 0

    class Stream:
        def __iter__(self):
            nonlocal alive, most
            for rows in numpy.array_split(numpy.arange(len(x)), 100):
                alive += 1
                most = max(most, alive)
                yield x[rows], weight[rows]

    class Waiting(Executor):
        """Works when it is asked for the result."""

        def submit(self, f, *args):
            class Later(Future):
                def result(self, timeout=None):
                    nonlocal alive
                    alive -= 1
                    return f(*args)

            return Later()

    whole = bits(fit_em(start, Stream(), max_iter=2))
    assert bits(fit_em(start, Stream(), max_iter=2, executor=processes)) == whole
    alive, most = 0, 0
    assert bits(fit_em(start, Stream(), max_iter=2, executor=Waiting())) == whole
    assert most <= 2 * module.n_cores() + 1


def test_a_worker_that_dies_is_an_error_that_says_how_to_go_on():
    x, _, start = problem()
    start = FragileMixture(*(getattr(start, name) for name in ("weights", "means", "covariances")))
    before = [leaf.copy() for leaf in tree.leaves(start)]
    with (
        ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor,
        pytest.raises(WorkerLostError, match=r"BrokenProcessPool.*fit_em\(error.result.model, x") as caught,
    ):
        fit_em(start, x, executor=executor, tol=-1.0, max_iter=9)
    found = caught.value.result
    plain = MixtureOfGaussians(*(getattr(start, name) for name in ("weights", "means", "covariances")))
    expected = fit_em(plain, x, tol=-1.0, max_iter=2)
    assert found.lower_bounds == expected.lower_bounds[:2]
    assert found.model.means.tobytes() == fit_em(plain, x, tol=-1.0, max_iter=1).model.means.tobytes()
    assert not found.converged
    for leaf, copy in zip(tree.leaves(start), before, strict=True):
        numpy.testing.assert_array_equal(leaf, copy)
    resumed = fit_em(MixtureOfGaussians(*tree.leaves(found.model)), x, tol=-1.0, max_iter=1)
    assert resumed.lower_bounds == expected.lower_bounds[1:]


def test_an_error_in_the_work_is_raised_as_it_is(processes):
    x, _, start = problem()
    x[12_345] = 1e200
    with pytest.raises(ValueError, match=r"x\[12345\] has probability 0"):
        em_pass(start, x, executor=processes)
    with pytest.raises(ValueError, match=r"x\[12345\] has probability 0"):
        em_pass(start, x)


def test_the_threads_of_the_library_are_afterwards_as_many_as_before():
    def threads():
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

    x, _, start = problem()
    with threadpoolctl.threadpool_limits(2, "blas"):
        before, within = threads(), []
        fit_em(start, x, max_iter=1, callback=lambda *_: within.append(set(threads())))
        assert within == [{1}] * 2
        assert threads() == before


def test_a_cluster_gives_the_bits_of_one_thread_and_is_sent_the_data_once(monkeypatch, one_thread):
    distributed = pytest.importorskip("distributed", reason="needs the extra `distributed`")
    dask = pytest.importorskip("dask")
    x, weight, start = problem()
    scattered, scatter = [], distributed.Client.scatter
    monkeypatch.setattr(distributed.Client, "scatter", lambda *args: scattered.append(args) or scatter(*args))
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        executor = client.get_executor()
        assert bits(fit_em(start, x, sample_weight=weight, max_iter=3, executor=executor)) == one_thread
        assert len(scattered) == 1
        fragile = FragileMixture(*(getattr(start, name) for name in ("weights", "means", "covariances")))
        with pytest.raises(WorkerLostError, match="fit_em"):
            fit_em(fragile, x, executor=executor)
