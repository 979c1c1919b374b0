"""One pass of EM over the data: the E-step, and the sums that the M-step needs, a chunk at a time.

    γ_nc = p(x_n, c) / p(x_n),   p(x_n) = Σ_c p(x_n, c)        Bayes' rule: the E-step (docs/notes.md, 4.3)
    Σ_n γ_nc,  Σ_n γ_nc x_n,  Σ_n γ_nc x_n x_nᵀ                the sums, of Gaussians (4.4)

In logarithms: a kernel (models/kernels.py) makes the table log p(x_n, c) of a chunk, and of responsibilities the sums.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any, Final, NamedTuple, Protocol

import numpy

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.backend import Array
from minilvm.inference.shards import Data, Shard, check_weight, slices
from minilvm.inference.workers import spread
from minilvm.models.base import check_data
from minilvm.models.kernels import Kernel, Sums, TableKernel
from minilvm.tape import Tensor, stop_gradient

FAR: Final = -190.0  # below a ceiling; with `NO_DENORMALS` more below that, exp is still far from its own end at −708


class EMModel(Protocol):
    """A mixture whose M-step has a closed form in sufficient statistics that add up over the data.

    It may also have `log_parameter_prior()`, which is then maximised too, and a `kernel()` faster than `TableKernel`.
    """

    def component_log_joint(self, x: Array) -> Array:
        """log p(x_n, z = c), of shape (N, C)."""

    def statistics(self, x: Array, responsibilities: Array) -> Any:
        """What the M-step needs to know of the data, given whose they are."""

    def m_step(self, statistics: Any) -> Any:
        """The model of largest expected log joint."""


def e_step(model: EMModel, x: Array) -> tuple[Array, Array]:
    """Return the responsibilities p(z = c | x_n), shape (N, C), and log p(x_n), shape (N,).

    Raises
    ------
    ValueError
        A datum is impossible: p(x_n) is 0, or too small to have a logarithm, and Bayes' rule divides by it.
    """
    if any(type(leaf) is Tensor for leaf in tree.leaves(model)):
        log_joint = model.component_log_joint(x)
        log_marginal = np.logsumexp(log_joint, axis=1)
        _require_possible(log_marginal, range(len(x)))
        return np.exp(log_joint - log_marginal[:, None]), log_marginal
    kernel = _kernel_of(model)
    kernel.check(x)
    tables = []
    with numpy.errstate(over="ignore", invalid="ignore"):  # what is not finite is found, and named
        for rows in slices(len(x), kernel.chunk):
            r, log_marginal = _bayes(kernel.log_joint(x[rows]), -math.inf)
            _require_possible(log_marginal, range(rows.start, rows.stop))
            tables.append((r.T, log_marginal))
    responsibilities, log_marginals = (numpy.concatenate(parts) for parts in zip(*tables, strict=True))
    precision = numpy.result_type(x.dtype, *(leaf.dtype for leaf in tree.leaves(model)))
    return responsibilities.astype(precision, copy=False), log_marginals.astype(precision, copy=False)


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
        Of `concurrent.futures`, or one like it such as Dask's, whose workers sum shards of the data; None for threads.

    Raises
    ------
    ValueError
        The data are not a finite table to match the model, or a datum is impossible.
    """
    with summing(model, x, sample_weight, executor) as sum_over:
        found = sum_over(model)
    return found.log_likelihood, found.statistics


class Pass(NamedTuple):
    """What a pass over the data, or over a part of them, has summed."""

    log_likelihood: float  # Σ_n w_n log p(x_n)
    weight: float  #         Σ_n w_n
    statistics: Any


@contextlib.contextmanager
def summing(
    model: Any, x: Data, sample_weight: Array | None, executor: Executor | None
) -> Iterator[Callable[[Any], Pass]]:
    """Give a function from a model like `model` to a pass over the data, which are checked and laid out just once."""
    if sample_weight is not None and not hasattr(sample_weight, "shape"):
        sample_weight = backend.namespace(x).asarray(sample_weight)
    _check_arguments(model, x, sample_weight)
    kernel = _kernel_of(model)
    with spread(x, sample_weight, executor, least=kernel.chunk, check=kernel.check) as over_shards:

        def total(kernel: Kernel) -> Pass:
            summed = _total(over_shards(functools.partial(_sum_shard, kernel)))
            return summed._replace(statistics=kernel.statistics(summed.statistics))

        def sum_over(model: Any) -> Pass:
            kernel: Kernel | None = _kernel_of(model)
            while kernel is not None:
                found = total(kernel)
                if not found.weight > 0.0:
                    raise ValueError("the weights of all chunks are 0; expected some data")
                kernel = kernel.again(found.statistics)
            return found

        yield sum_over


def _kernel_of(model: Any) -> Kernel:
    return model.kernel() if hasattr(model, "kernel") else TableKernel(model)


def _total(parts: Iterable[Pass]) -> Pass:
    """The sum, from the first to the last."""
    log_likelihood, weight, sums = 0.0, 0.0, None
    for part in parts:
        log_likelihood += part.log_likelihood
        weight += part.weight
        sums = part.statistics if sums is None else sums + part.statistics
    if sums is None:
        raise ValueError("x has no chunks; expected at least one point of at least one feature")
    return Pass(log_likelihood, weight, sums)


def _sum_shard(kernel: Kernel, shard: Shard) -> Pass:
    x, weight, n = shard.x, shard.weight, len(shard.x)
    with numpy.errstate(over="ignore", invalid="ignore"):  # what is not finite is found, and named
        return _total(
            _sum_chunk(kernel, x[rows], None if weight is None else weight[rows], shard.start + rows.start)
            for rows in slices(n, math.ceil(n / math.ceil(n / kernel.chunk)))
        )


def _sum_chunk(kernel: Kernel, x: Array, weight: Array | None, start: int) -> Pass:
    places: Any = range(start, start + len(x))
    if weight is not None and not bool(weight.all()):  # a point of weight 0 is not there
        there = weight > 0
        x, weight, places = x[there], weight[there], numpy.flatnonzero(backend.to_numpy(there)) + start
    r, log_marginal, sums = _posterior(kernel, x)
    log_likelihood = float(log_marginal.sum() if weight is None else log_marginal @ weight)
    if not math.isfinite(log_likelihood):
        kernel.check(x)
        _require_possible(log_marginal, places)
    if weight is None:
        return Pass(log_likelihood, float(len(x)), sums(r))
    r *= weight
    return Pass(log_likelihood, float(weight.sum()), sums(r))


def _posterior(kernel: Kernel, x: Array) -> tuple[Array, Array, Sums]:
    """p(c | x_n), of shape (C, n), log p(x_n), and the function from the first to sums.

    Under a ceiling no exponential overflows, and the datum's own maximum need not be found and subtracted: two passes
    over the table less. But where all components of a datum are so far down that they would underflow, it is.
    """
    table, sums = kernel(x)
    if kernel.ceiling is None:
        return *_bayes(table, kernel.floor), sums
    r, total = _exponentials(table, kernel.floor + FAR)
    if r.size > 0 and bool(total.min() < math.exp(FAR)):
        return *_bayes(kernel.log_joint(x), kernel.floor), sums
    r *= 1.0 / total
    return r, numpy.log(total, out=total) + kernel.ceiling, sums


def _bayes(log_joint: Array, floor: float) -> tuple[Array, Array]:
    """Bayes' rule: log p(x_n, c), of shape (C, n), becomes p(c | x_n), in place; also returns log p(x_n)."""
    top = log_joint.max(axis=0)
    log_joint -= top
    r, total = _exponentials(log_joint, floor)
    r *= 1.0 / total
    top += numpy.log(total)
    return r, top


def _exponentials(table: Array, floor: float) -> tuple[Array, Array]:
    """Exponentials of what is at least the floor, or counts as that, in place; and their sums over components."""
    if table.size > 0 and bool(table.min() < floor):
        numpy.maximum(table, numpy.full_like(table[0], floor), out=table)  # with a number NumPy's loop is slow
    r = numpy.exp(table, out=table)
    return r, r.sum(axis=0)


def _require_possible(log_marginal: Array, places: Sequence[int]) -> None:
    impossible = backend.to_numpy(numpy.logical_not(numpy.isfinite(stop_gradient(log_marginal))))
    if impossible.any():
        raise ValueError(
            f"x[{places[int(impossible.argmax())]}] has probability 0 under every component: use a pseudocount or "
            "wider covariances, or drop it"
        )


def _check_arguments(model: Any, x: Data, sample_weight: Array | None) -> None:
    """Refuse an array, or weights, that no pass could read; chunks are looked at as they come."""
    if hasattr(x, "shape") or isinstance(x, str):
        (model.check_data if hasattr(model, "check_data") else check_data)(x)
    if sample_weight is None:
        return
    if not hasattr(x, "shape"):
        raise TypeError("x comes in chunks; give their weights with them, as pairs (chunk, weights)")
    check_weight(sample_weight, x)
    if not bool((sample_weight > 0).any()):
        raise ValueError("sample_weight is 0 for every point; expected some data")
