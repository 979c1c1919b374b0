"""The whitened kernel for many features, where clusters seldom overlap: it leaves out pairs (n, c) that say nothing.

*In the E-step.* L is lower triangular, so the first k elements of y = L⁻¹ (x − μ) need the first k features only, and
their squares are a part of ‖y‖²: every log p(x_n, c) is bounded from above, at (k/D)² of the cost. The component with
the highest bound is computed in full, and then those alone whose bound comes near to it.

*In the M-step.* Moments are summed over the data for which a component is responsible at all.

What is left out weighs less than e⁻⁵⁰ = 2e-22 of a datum: no sum feels it, but for a component that has no more than
that of any datum. `again` leaves nothing out then.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy

from minilvm.backend import Array
from minilvm.models.gaussian_statistics import GaussianStatistics, Moments
from minilvm.models.kernels import Kernel, Sums
from minilvm.models.whitened_kernels import WhitenedFull

NEGLIGIBLE: Final = -50.0  # log responsibility
LEAST_SHARE: Final = 1e-6  # of the data: what is left out of them, 2e-22, is 2e-16 of this

Block = tuple[int, Any, Array]  # a component, the data for which it was computed, and their y (D, n)


class ScreenedFull(WhitenedFull):
    """Whitening of the pairs of data and components that need it."""

    def __init__(self, log_constants: Array, means: Array, factors: Array) -> None:
        super().__init__(log_constants, means, factors)
        self.parameters = log_constants, means, factors
        self.chunk = 16 * self.chunk  # of which each component takes its share
        self.k = next((k for k in (self.D // 4, self.D // 2) if self._tells_apart(k)), 0)

    def _tells_apart(self, k: int) -> bool:
        """Whether ½ ‖y‖² > D/2 + 50 already in k features, of one component's mean under most of the components."""
        between = self.means[None, :, :k] - self.means[:, None, :k]
        squares = numpy.square(self._head(k) @ numpy.swapaxes(between, 1, 2)).sum(axis=1)
        return bool(numpy.median(0.5 * squares - 0.5 * self.D + NEGLIGIBLE) > 0.0)

    def _head(self, k: int) -> Array:
        return self.inverse[:, :k, :k]

    def __call__(self, x: Array) -> tuple[Array, Sums]:
        """Return the table, −∞ where it is negligible; and the moments of the pairs that are not."""
        log_joint = numpy.full_like(self.means, -numpy.inf, shape=(len(self.means), len(x)))
        if self.k == 0:
            blocks = self._fill(log_joint, x, numpy.ones_like(log_joint, dtype=bool))
        else:
            bounds = self._bounds(x)
            likeliest = bounds == bounds.max(axis=0)
            blocks = self._fill(log_joint, x, likeliest)
            near = (bounds > log_joint.max(axis=0) + NEGLIGIBLE) & ~likeliest
            blocks += self._fill(log_joint, x, near)
        return log_joint, functools.partial(self._sum_blocks, blocks)

    def _bounds(self, x: Array) -> Array:
        """What the table is not above, (C, n), from the first k features."""
        y = self._head(self.k) @ (x[:, : self.k].T - self.means[:, : self.k, None])
        return self.log_constants - 0.5 * numpy.einsum("ckn,ckn->cn", y, y)

    def _fill(self, log_joint: Array, x: Array, pairs: Array) -> list[Block]:
        """Write the table for these pairs, (C, n) of them true or false."""
        blocks = []
        for c, mine in enumerate(pairs):
            if mine.any():
                n = _chosen(mine)
                y = self.inverse[c] @ (x[n] - self.means[c]).T
                log_joint[c, n] = self.log_constants[c] - 0.5 * numpy.einsum("dn,dn->n", y, y)
                blocks.append((c, n, y))
        return blocks

    def _sum_blocks(self, blocks: list[Block], r: Array) -> Moments:
        sums = Moments(r.sum(axis=1), numpy.zeros_like(self.means), numpy.zeros_like(self.inverse))
        least = numpy.exp(NEGLIGIBLE) * r.max(initial=0.0)  # of weights, the scale of which has no say
        for c, n, y in blocks:
            weights = r[c, n]
            some = _chosen(weights > least)
            root = numpy.sqrt(weights[some])
            z = root * y[:, some]
            sums.first[c] += z @ root
            sums.second[c] += z @ z.T
        return sums

    def again(self, statistics: GaussianStatistics) -> Kernel | None:
        """Return the kernel of all pairs, if what is negligible beside the data is not so beside a component."""
        if bool((statistics.counts < LEAST_SHARE * statistics.counts.sum()).any()):
            every = WhitenedFull(*self.parameters)
            every.regulariser = self.regulariser
            return every
        return super().again(statistics)


def _chosen(mask: Array) -> Any:
    """The indices of what is true; all, as a view and no copy, where that is most."""
    return slice(None) if 4 * numpy.count_nonzero(mask) > 3 * len(mask) else numpy.flatnonzero(mask)
