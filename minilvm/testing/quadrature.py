"""Random numbers that are not random: the nodes of a quadrature, handed out by a generator to whatever draws from it.

An estimator that makes its own noise (uniforms behind a bit, normals behind a path) is a function of those numbers.
Given all nodes of a product rule in place of draws, it returns one value a node, and a weighted sum is its expectation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy

MAX_NODES = 2**20

Rule = tuple[Any, Any]  # nodes and weights: Σ_i w_i f(t_i) is the average of f over one random number


def uniform_rule(n: int, cuts: Sequence[float] = ()) -> Rule:
    """Return Gauss-Legendre nodes and weights for a uniform number on (0, 1), n of them between any two of the cuts.

    Exact for what is a polynomial of degree 2n − 1 between cuts. A Bernoulli draw [u < p] is the rule of one node a
    piece, with its cut at p; σ of a logistic number is smooth in u.

    >>> uniform_rule(1, cuts=[0.25])
    (array([0.125, 0.625]), array([0.25, 0.75]))
    """
    edges = numpy.unique([0.0, *cuts, 1.0])
    nodes, weights = numpy.polynomial.legendre.leggauss(n)
    width = numpy.diff(edges)[:, None]
    return (edges[:-1, None] + width * (0.5 + 0.5 * nodes)).ravel(), (0.5 * width * weights).ravel()


def normal_rule(n: int) -> Rule:
    """Return Gauss-Hermite nodes and weights for a standard normal number: exact for degree 2n − 1."""
    nodes, weights = numpy.polynomial.hermite_e.hermegauss(n)
    return nodes, weights / weights.sum()


def exponential_rule(n: int) -> Rule:
    """Return Gauss-Laguerre nodes and weights for a standard exponential number: exact for degree 2n − 1."""
    return numpy.polynomial.laguerre.laggauss(n)


class Quadrature(numpy.random.Generator):
    """A generator whose draws are all M nodes of a product rule at once, as a batch; each has its `probability`.

    What an estimator of K draws from a law of batch shape (M,) makes of these "draws" is one value a node, and the sum
    of the values, each times its probability, is its expectation. So it does for the noise of an estimator that draws
    for itself what `AllTuples` does for draws from q.

    Parameters
    ----------
    rules
        One rule for each number that will be drawn for one batch element, in the order of drawing: first all those of
        the first call to the generator, in the order of its shape less the batch axis. Which of a generator's methods
        is called makes no difference: give a rule for the law that it draws from.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        super().__init__(numpy.random.PCG64(0))
        size = math.prod(len(nodes) for nodes, _ in rules)
        if size > MAX_NODES:
            raise ValueError(f"the product of {len(rules)} rules has {size} nodes, more than {MAX_NODES}")
        grids = [numpy.meshgrid(*column, indexing="ij") for column in zip(*rules, strict=True)]
        self._numbers = numpy.stack([grid.ravel() for grid in grids[0]])  # (numbers drawn, M)
        self.probability = numpy.stack([grid.ravel() for grid in grids[1]]).prod(axis=0)
        self._next = 0

    def rewind(self) -> None:
        """Begin again with the first number."""
        self._next = 0

    def _draw(self, size: Any = None, dtype: Any = float) -> Any:
        M = len(self.probability)
        if size is None or len(size) < 2 or size[1] != M:
            raise ValueError(f"draws of shape {size} were asked of a rule of {M} nodes; expected (K, {M}, ...)")
        start, n = self._next, math.prod(size) // M
        if start + n > len(self._numbers):
            raise ValueError(f"{start + n} numbers were drawn, and there are rules for {len(self._numbers)}")
        self._next = start + n
        block = self._numbers[start : start + n].reshape(size[0], *size[2:], M)
        return numpy.moveaxis(block, -1, 1).astype(dtype)

    random = _draw  # type: ignore[assignment]  # one signature where NumPy has an overload for each
    standard_normal = _draw  # type: ignore[assignment]
    standard_exponential = _draw  # type: ignore[assignment]
