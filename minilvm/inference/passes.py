"""One pass of EM over the data: the E-step, and the sums that the M-step needs, a chunk at a time.

Statistics add up, so chunks, threads, processes and machines share the work: each sums what it is given, and the sums
are added in one fixed order, whoever made them. The answer has the same bits on one core and on a hundred.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import Any, Protocol, TypeAlias

import numpy

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array
from minilvm.models.base import check_data
from minilvm.tape import stop_gradient

Sums: TypeAlias = Callable[[Array], Any]
Kernel: TypeAlias = Callable[[Array], tuple[Array, Sums]]
Data: TypeAlias = Any  # an array (N, D), or an iterable of chunks (n, D), or of pairs (chunk, weights)

CHUNK = 4096  # points: a table (C, 4096) stays in cache
SHARDS = 64  # at most; what one worker sums at least


class EMModel(Protocol):
    """A mixture whose M-step has a closed form in sufficient statistics that add up over the data.

    It may also have `log_parameter_prior()`, which is then maximised too, and a `kernel()` faster than `kernel_of`.
    """

    def component_log_joint(self, x: Array) -> Array:
        """log p(x_n, z = c), of shape (N, C)."""

    def statistics(self, x: Array, responsibilities: Array) -> Any:
        """What the M-step needs to know of the data, given whose they are."""

    def m_step(self, statistics: Any) -> Any:
        """The model of largest expected log joint."""


def kernel_of(model: Any, *, precise: bool = False) -> Kernel:
    """Return the model's own kernel, or the same made of its log joint and its statistics.

    A kernel is a function of a chunk x (n, D). It returns log p(x_n, z = c), of shape (C, n), and a function from
    responsibilities (C, n) to the chunk's statistics, which shares its work.
    """
    if hasattr(model, "kernel"):
        kernel: Kernel = model.kernel(precise=precise)
        return kernel
    return lambda x: (model.component_log_joint(x).T, lambda r: model.statistics(x, r.T))


def e_step(model: EMModel, x: Array) -> tuple[Array, Array]:
    """Return the responsibilities p(z = c | x_n), shape (N, C), and log p(x_n), shape (N,).

    Raises
    ------
    ValueError
        A datum is impossible: p(x_n) is 0, or too small to have a logarithm, and Bayes' rule divides by it.
    """
    tables = [_e_step(model, x[rows], rows.start) for rows in _slices(len(x), CHUNK)]
    responsibilities, log_marginal = zip(*tables, strict=True)
    return np.concatenate(responsibilities), np.concatenate(log_marginal)


def _e_step(model: EMModel, x: Array, start: int) -> tuple[Array, Array]:
    log_joint = model.component_log_joint(x)
    log_marginal = np.logsumexp(log_joint, axis=1)
    _require_possible(log_marginal, start)
    return np.exp(log_joint - log_marginal[:, None]), log_marginal


def em_pass(
    model: EMModel, x: Data, *, sample_weight: Array | None = None, executor: Executor | None = None
) -> tuple[float, Any]:
    """Return Σ_n w_n log p(x_n), in nats, and the statistics of the data under the posterior: what `m_step` takes.

    Parameters
    ----------
    model
        Whose posterior it is.
    x
        Data of shape (N, D): an array, a memory map, or something that can be iterated over again and again for chunks
        of shape (n, D), or for pairs of a chunk and the weights of its points.
    sample_weight
        w, of shape (N,), at least 0: as if each point were there so many times. 1 by default.
    executor
        Of `concurrent.futures`, or one like it, whose workers sum shards of the data.

    Raises
    ------
    ValueError
        The data are not a finite table to match the model, or a datum is impossible.
    """
    total, statistics = 0.0, None
    for part, of_part in _map(executor, _sum_shard, model, _shards(model, x, sample_weight)):
        total += part
        statistics = of_part if statistics is None else statistics + of_part
    if statistics is None:
        raise ValueError("x has no chunks; expected at least one point of at least one feature")
    return total, statistics


def check_arguments(model: Any, x: Data, sample_weight: Array | None) -> None:
    """Refuse an array, or weights, that no pass could read; chunks are looked at as they come."""
    if hasattr(x, "shape") or isinstance(x, str):
        _check_data(model, x)
    if sample_weight is None:
        return
    if not hasattr(x, "shape"):
        raise TypeError("x comes in chunks; give their weights with them, as pairs (chunk, weights)")
    if sample_weight.shape != (len(x),):
        raise ValueError(f"sample_weight has shape {sample_weight.shape}; expected ({len(x)},) to match x")
    if not bool((numpy.isfinite(sample_weight) & (sample_weight >= 0)).all()):
        raise ValueError("sample_weight must be finite and at least 0")


def total_weight(model: Any, x: Data, sample_weight: Array | None) -> float:
    """Return Σ_n w_n."""
    return sum(float(len(chunk) if w is None else w.sum()) for chunk, w, _ in _shards(model, x, sample_weight))


Shard: TypeAlias = tuple[Array, Array | None, int]  # points, their weights, the index of the first


def _shards(model: Any, x: Data, sample_weight: Array | None) -> Iterator[Shard]:
    """The data in parts whose bounds depend on nothing but their number."""
    if hasattr(x, "shape"):
        chunks = max(1, math.ceil(len(x) / CHUNK / SHARDS))
        for rows in _slices(len(x), chunks * CHUNK):
            yield x[rows], None if sample_weight is None else sample_weight[rows], rows.start
        return
    if iter(x) is x:
        raise TypeError(
            f"x is a {type(x).__name__}, which can be read once; EM reads the data at each step: give a list of "
            "chunks, or an object whose __iter__ begins again"
        )
    for chunk in x:
        points, weight = chunk if isinstance(chunk, tuple) else (chunk, None)
        _check_data(model, points)
        yield points, weight, 0


def _map(executor: Executor | None, f: Callable[..., Any], model: Any, shards: Iterable[Shard]) -> Iterator[Any]:
    if executor is None:
        return (f(model, *shard) for shard in shards)
    return (future.result() for future in [executor.submit(f, model, *shard) for shard in shards])


def _sum_shard(model: Any, x: Array, weight: Array | None, start: int) -> tuple[float, Any]:
    kernel = kernel_of(model)
    floor = getattr(kernel, "floor", -numpy.inf)
    total, statistics = 0.0, None
    with numpy.errstate(over="ignore", invalid="ignore"):  # `_bayes` finds what is not finite
        for rows in _slices(len(x), CHUNK):
            log_joint, sums = kernel(x[rows])
            r, log_marginal = _bayes(model, log_joint, x[rows], start + rows.start, floor)
            if weight is not None:
                r, log_marginal = r * weight[rows], log_marginal * weight[rows]
            total += float(log_marginal.sum())
            statistics = sums(r) if statistics is None else statistics + sums(r)
    return total, statistics


def _bayes(model: Any, log_joint: Array, x: Array, start: int, floor: float = -numpy.inf) -> tuple[Array, Array]:
    """Bayes' rule: p(c | x_n) of shape (C, n), and log p(x_n). `x` begins with datum number `start`."""
    top = log_joint.max(axis=0)
    r = numpy.exp(numpy.maximum(log_joint - top, floor))
    total = r.sum(axis=0)
    log_marginal = top + numpy.log(total)
    if not bool(numpy.isfinite(log_marginal.sum())):
        _check_data(model, x)
        _require_possible(log_marginal, start)
    r /= total
    return r, log_marginal


def _require_possible(log_marginal: Array, start: int) -> None:
    impossible = backend.to_numpy(numpy.logical_not(numpy.isfinite(stop_gradient(log_marginal))))
    if impossible.any():
        raise ValueError(
            f"x[{start + int(impossible.argmax())}] has probability 0 under every component: use a pseudocount or "
            "wider covariances, or drop it"
        )


def _check_data(model: Any, x: Array) -> None:
    getattr(model, "check_data", check_data)(x)


def _slices(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
