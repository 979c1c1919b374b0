"""Threads keep order, context and count, and leave the library of linear algebra as it was."""

import os
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy
import pytest
import threadpoolctl

from minilvm import backend, threads
from minilvm.threads import in_order, n_cores, on_all_cores, one_blas_thread


def blas_threads():
    return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(threads, "n_cores", lambda: 2)
    with threadpoolctl.threadpool_limits(2, "blas"):
        yield


def test_cores_are_those_that_this_process_may_use():
    assert 1 <= n_cores() <= os.cpu_count()


def test_what_is_done_first_waits_for_what_was_asked_first(two_cores):
    second_is_done = threading.Event()

    def f(i):
        if i == 0:
            assert second_is_done.wait(30)
        elif i == 1:
            second_is_done.set()
        return i

    assert list(on_all_cores(f, range(9), at_most=4)) == list(range(9))


@pytest.mark.parametrize(("at_most", "n_threads"), [(1, 1), (2, 2), (9, 2)])
def test_there_are_as_many_threads_as_cores_or_as_are_allowed(two_cores, at_most, n_threads):
    all_are_here = threading.Barrier(n_threads)

    def f(_):
        all_are_here.wait(30)
        return threading.get_ident()

    assert len(set(on_all_cores(f, range(n_threads), at_most=at_most))) == n_threads


def test_no_more_is_taken_than_keeps_the_workers_busy(two_cores):
    taken = []
    with ThreadPoolExecutor(2) as executor:
        results = in_order(executor, 2, lambda i: i, (taken.append(i) or i for i in range(100)))
        for i in results:
            assert len(taken) <= i + 5
    assert taken == list(range(100))


def test_those_that_wait_are_not_as_many_as_the_cores(monkeypatch):
    """What is made for threads that there are not would only be held."""
    monkeypatch.setattr(threads, "n_cores", lambda: 64)
    taken = []
    results = on_all_cores(lambda i: i, (taken.append(i) or i for i in range(100)), at_most=2)
    assert next(results) == 0
    assert len(taken) == 5
    results.close()


def test_an_error_is_raised_in_its_turn(two_cores):
    results = on_all_cores(lambda i: 1 / (i - 3), range(100), at_most=4)
    assert [next(results) for _ in range(3)] == [1 / -3, 1 / -2, -1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_what_is_given_up_is_not_begun():
    futures = []

    class OnlyTheFirst(Executor):
        def submit(self, f, *args):
            futures.append(Future())
            if len(futures) == 1:
                futures[0].set_result(f(*args))
            return futures[-1]

    results = in_order(OnlyTheFirst(), 2, lambda i: i, range(100))
    assert next(results) == 0
    results.close()
    assert len(futures) > 1
    assert all(future.cancelled() for future in futures[1:])


def test_threads_work_in_the_context_of_who_asks(two_cores):
    def f(i):
        return backend.namespace().__name__, numpy.geterr()["over"]

    with backend.using("strict_cupy"), numpy.errstate(over="ignore"):
        expected = f(0)
        assert list(on_all_cores(f, range(5), at_most=4)) == [expected] * 5
    assert f(0) != expected


def test_linear_algebra_has_one_thread_until_all_is_done_or_given_up(two_cores):
    assert list(on_all_cores(lambda i: blas_threads(), range(3), at_most=4)) == [{1}] * 3
    assert blas_threads() == {2}
    results = on_all_cores(lambda i: i, range(9), at_most=4)
    next(results)
    assert blas_threads() == {1}
    results.close()
    assert blas_threads() == {2}
    with one_blas_thread():
        assert blas_threads() == {1}
    assert blas_threads() == {2}
