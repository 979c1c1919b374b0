"""What the M-step of a mixture of Gaussians needs to know of the data: counts, and first and second moments."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array
from minilvm.models.covariances import COVARIANCE_TYPES


class Moments(NamedTuple):
    """Counts and moments in the coordinates, and the form, that suit a kernel; they add up."""

    counts: Array
    first: Array
    second: Array

    def __add__(self, other: Moments) -> Moments:  # type: ignore[override]  # of tuples, + is concatenation
        return Moments(self.counts + other.counts, self.first + other.first, self.second + other.second)


@dataclass(frozen=True, eq=False)
class GaussianStatistics:
    """Sums over points, so statistics of parts of the data (chunks, shards, minibatches) add up to those of the whole.

    Moments are taken about the components' old means, say, where they lose no digits to cancellation: about 0 the
    variance of a tight cluster far away is the small difference of two large numbers. Weights of the data are in γ.
    """

    counts: Array  #   (C,)    N_c = Σ_n γ_nc
    first: Array  #    (C, D)  Σ_n γ_nc d_nc, with d_nc = x_n − centre_c
    second: Array  #   as models/covariances.py says: full (C, D, D) Σ_n γ_nc d_nc d_ncᵀ, tied its sum over c, …
    centres: Array  #  (C, D)
    covariance_type: str = tree.static(default="full")

    @classmethod
    def from_data(cls, x: Array, responsibilities: Array, centres: Array, covariance_type: str) -> GaussianStatistics:
        """Return the statistics of points (N, D), shared among the components by `responsibilities` (N, C)."""
        deviations = x.T - centres[:, :, None]  # (C, D, N)
        weighted = responsibilities.T[:, None, :] * deviations
        second = COVARIANCE_TYPES[covariance_type].moment(weighted, deviations)
        return cls(responsibilities.sum(axis=0), weighted.sum(axis=2), second, centres, covariance_type)

    def around(self, centres: Array) -> GaussianStatistics:
        """Return the same statistics about other centres, by d + s for d with s = old − new centre."""
        pair = COVARIANCE_TYPES[self.covariance_type].pair
        step = self.centres - centres
        moved = self.counts[:, None] * step
        return GaussianStatistics(
            self.counts,
            self.first + moved,
            self.second + pair(self.first, step) + pair(step, self.first) + pair(moved, step),
            centres,
            self.covariance_type,
        )

    def of(self, components: Array) -> GaussianStatistics:
        """Return the statistics of these components, in this order."""
        second = self.second if self.covariance_type == "tied" else self.second[components]
        return GaussianStatistics(
            self.counts[components], self.first[components], second, self.centres[components], self.covariance_type
        )

    def __add__(self, other: GaussianStatistics) -> GaussianStatistics:
        if other.centres is not self.centres:
            other = other.around(self.centres)
        return GaussianStatistics(
            self.counts + other.counts,
            self.first + other.first,
            self.second + other.second,
            self.centres,
            self.covariance_type,
        )

    def __rmul__(self, scale: float) -> GaussianStatistics:
        return GaussianStatistics(
            scale * self.counts, scale * self.first, scale * self.second, self.centres, self.covariance_type
        )

    @property
    def means(self) -> Array:
        """The weighted means of the points, x̄_c."""
        return self.centres + self.first / self.counts[:, None]

    @functools.cached_property
    def scatter(self) -> Array:
        """The second moment about those means, Σ_n γ_nc (x_n − x̄_c)(x_n − x̄_c)ᵀ."""
        shifted = self.first / np.sqrt(self.counts)[:, None]
        return self.second - COVARIANCE_TYPES[self.covariance_type].pair(shifted, shifted)
