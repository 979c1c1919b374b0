"""The E-step's arithmetic, a chunk of data at a time: what each datum's components say, and the sums that follow."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

import numpy

from minilvm.backend import Array, namespace
from minilvm.models.base import check_data
from minilvm.models.covariances import COVARIANCE_TYPES
from minilvm.models.gaussian_statistics import GaussianStatistics

Sums: TypeAlias = Callable[[Array], Any]

MOST_AMPLIFICATION: Final = 1e5  # of rounding, in sums of squares: 2e-16 becomes 2e-11
# A floor for log responsibilities: exp gives denormals below −708, 100 times slower on some CPUs, and products with
# weights and data are not to get there either.
NO_DENORMALS: Final = -500.0


def points_at_a_time(numbers: int, like: Array, least: int, most: int) -> int:
    """Return how many points to take where so many numbers are made of each: what fits a cache, or fills a GPU."""
    return max(least, min(2**18 // numbers, most)) if namespace(like) is numpy else max(1, 2**25 // numbers)


class Kernel(abc.ABC):
    """A function of a chunk x (n, D): a table of log p(x_n, z = c), of shape (C, n), and the way from there to sums.

    Of the table a `ceiling` has been subtracted, if there is one. The second part of what is returned shares the work
    of the first. It takes responsibilities (C, n), with the weights of the data in them, and returns something that
    adds up over chunks; `statistics` reads the total.

    Kernels know nothing of the rest of the data, so that they can be sent where it is.
    """

    chunk = 4096  # points: few enough that what is made of them stays in cache
    floor = -numpy.inf  # of log responsibilities, where no component is impossible
    ceiling: float | None = None  # no log p(x_n, c) is higher, if that is known of one

    @abc.abstractmethod
    def __call__(self, x: Array) -> tuple[Array, Sums]:
        """Return the table, for the caller to overwrite, and the function from responsibilities to sums."""

    def log_joint(self, x: Array) -> Array:
        """Return log p(x_n, z = c), of shape (C, n)."""
        table, _ = self(x)
        return table if self.ceiling is None else table + self.ceiling

    def statistics(self, sums: Any) -> Any:
        """Return what `m_step` takes."""
        return sums

    def again(self, statistics: Any) -> Kernel | None:
        """Return what to go over the data with once more, if the statistics have lost digits to rounding; else None."""
        del statistics
        return None

    def check(self, x: Array) -> None:
        """Refuse data that are not what the table can be made of."""
        check_data(x)


class TableKernel(Kernel):
    """The kernel of any mixture, made of its log joint and its statistics."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, x: Array) -> tuple[Array, Sums]:
        """Return `component_log_joint`, and `statistics`."""
        return self.model.component_log_joint(x).copy().T, lambda r: self.model.statistics(x, r.T)

    def check(self, x: Array) -> None:
        """Refuse what the model refuses."""
        (self.model.check_data if hasattr(self.model, "check_data") else check_data)(x)


class Regulariser(NamedTuple):
    """What the M-step adds to the scatter, so that digits far below it are not missed."""

    scale: Array | None = None  # Λ of a prior
    reg_covar: float = 0.0  # of each variance

    def added_to(self, statistics: GaussianStatistics) -> Array:
        """Return the scatter with that."""
        kind, scatter = COVARIANCE_TYPES[statistics.covariance_type], statistics.scatter
        if self.scale is not None:
            scatter = scatter + self.scale
        if self.reg_covar:
            mass = kind.mass(statistics.counts, statistics.centres.shape[1])
            scatter = kind.add_to_diagonal(scatter, self.reg_covar * mass)
        return scatter


class GaussianKernel(Kernel):
    """What kernels of Gaussian components share: a check of the digits that cancel in second moments, and a remedy."""

    floor = NO_DENORMALS
    covariance_type: str
    D: int
    regulariser = Regulariser()

    def check(self, x: Array) -> None:
        """Refuse data that are not a finite table of D features."""
        check_data(x, self.D)

    def again(self, statistics: GaussianStatistics) -> Kernel | None:
        """Return a kernel of moments about the new means, if digits of the scatter were lost about the old ones."""
        lost = digits_are_lost(statistics, self.regulariser, self._as_summed)
        return _Recentred(self, statistics.means) if lost else None

    def _as_summed(self, moments: Array) -> Array:
        """Return second moments in the coordinates that they were summed in."""
        return moments


def digits_are_lost(
    statistics: GaussianStatistics, regulariser: Regulariser, as_summed: Callable[[Array], Array]
) -> bool:
    """Whether a variance, or what others leave unexplained of it, is small beside the square that it is part of.

    That is a component which has become far narrower than it was, in some direction, or whose centre for the moments
    (the origin of features, or its old mean) is many times its new width away.
    """
    kind = COVARIANCE_TYPES[statistics.covariance_type]
    left = kind.pivots(as_summed(regulariser.added_to(statistics)))
    return bool((kind.variances(as_summed(statistics.second)) > MOST_AMPLIFICATION * left).any())


class _Recentred(Kernel):
    """The same table, but moments about other centres, straight from the definition."""

    floor = NO_DENORMALS

    def __init__(self, table: GaussianKernel, centres: Array) -> None:
        self.table, self.centres, self.chunk, self.ceiling = table, centres, table.chunk, table.ceiling

    def __call__(self, x: Array) -> tuple[Array, Sums]:
        table, _ = self.table(x)
        return table, lambda r: GaussianStatistics.from_data(x, r.T, self.centres, self.table.covariance_type)
