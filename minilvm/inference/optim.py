"""Optimisers: steps against a gradient, for any tree of parameters.

The parameters of one dtype are laid out in one flat buffer, so that a step is a handful of passes over memory, in
chunks that stay in cache, however many arrays there are.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, namespace

Params = TypeVar("Params")
Buffers = dict[Any, Array]


class Optimizer(Protocol):
    """`state = init(params)`; then `params, state = step(params, grads, state)`, as often as you like."""

    def init(self, params: Any) -> Any:
        """The state before the first step."""

    def step(self, params: Params, grads: Params, state: Any) -> tuple[Params, Any]:
        """New parameters and a new state."""


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent: θ ← θ − lr · g.

    (Robbins and Monro, *Annals of Mathematical Statistics* 22, 1951.)
    """

    lr: float = 1e-3

    def init(self, params: Any) -> None:
        """Return the state, of which there is none."""
        del params

    def step(self, params: Params, grads: Params, state: None) -> tuple[Params, None]:
        """Return new parameters, one step down the gradient."""
        return tree.map(lambda p, g: p - float(self.lr) * g, params, grads), state


@dataclass
class AdamState:
    """How many steps were taken, and flat buffers by dtype: decayed sums of the gradient and its square.

    `leaves` are those of the parameters last returned, and `flat` the buffers that they are views of: if they come
    back, they need not be gathered again.
    """

    count: int
    first: Buffers
    second: Buffers
    gradient: Buffers
    leaves: list[Array]
    flat: Buffers

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle holds: there, `leaves` would be views of `flat` no more."""
        return {**vars(self), "leaves": [], "flat": {}}


@dataclass(frozen=True)
class Adam:
    """Adam: m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²,  θ ← θ − lr · m̂ / (√v̂ + ε).

    m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) undo the bias of starting at zero. (Kingma and Ba, arXiv:1412.6980, alg. 1.)
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def init(self, params: Any) -> AdamState:
        """Return the state before the first step."""
        leaves = tree.leaves(params)
        for leaf in leaves:
            if not hasattr(leaf, "dtype") or leaf.dtype.kind != "f":
                raise TypeError(f"a leaf of params is {leaf!r:.80}; expected arrays of floating-point numbers")
        flat = _flat(leaves)
        first, second, gradient = ({dtype: np.zeros_like(theta) for dtype, theta in flat.items()} for _ in range(3))
        return AdamState(0, first, second, gradient, [], {})

    def step(self, params: Params, grads: Params, state: AdamState) -> tuple[Params, AdamState]:
        """Return new parameters and the state after the step. The state passed in is spent: its buffers are reused."""
        leaves, slopes = tree.leaves(params), tree.leaves(grads)
        _check_alike(leaves, slopes)
        returned = len(leaves) == len(state.leaves) and all(map(operator.is_, leaves, state.leaves))
        flat = state.flat if returned else _flat(leaves)
        gradient = _flat(slopes, out=state.gradient)
        moved = {dtype: namespace(theta).empty_like(theta) for dtype, theta in flat.items()}
        state.count += 1
        for dtype, theta in flat.items():
            buffers = (theta, gradient[dtype], state.first[dtype], state.second[dtype], moved[dtype])
            for start in range(0, theta.size, _CHUNK):
                self._step(state.count, tuple([buffer[start : start + _CHUNK] for buffer in buffers]))
        state.leaves, state.flat = _views(leaves, moved), moved
        supply = iter(state.leaves)
        return tree.map(lambda _: next(supply), params), state

    def _step(self, t: int, buffers: tuple[Array, ...]) -> None:
        """Write one chunk of the new θ into `moved`, update the sums in place, and use up g.

        m = (1 − β₁) Σᵢ β₁ᵗ⁻ⁱ gᵢ and v = (1 − β₂) Σᵢ β₂ᵗ⁻ⁱ gᵢ²: the state holds the sums, and the factors, like the bias
        corrections, are taken together into the two numbers `rate` and `eps`. Three passes over memory fewer.
        """
        theta, g, first, second, moved = buffers
        beta1, beta2 = self.betas
        spread = math.sqrt((1.0 - beta2) / (1.0 - beta2**t))  # √v̂ = spread · √second
        rate = self.lr * (1.0 - beta1) / (1.0 - beta1**t) / spread
        xp = namespace(theta)
        first *= beta1
        first += g
        second *= beta2
        second += xp.multiply(g, g, out=g)
        denominator = xp.sqrt(second, out=g)
        denominator += self.eps / spread
        update = xp.divide(first, denominator, out=moved)
        update *= rate
        xp.subtract(theta, update, out=moved)


_CHUNK = 65_536  # elements: five float32 buffers of this length about fill a core's second-level cache


def _check_alike(params: list[Array], grads: list[Array]) -> None:
    if len(grads) != len(params):
        raise ValueError(f"grads has {len(grads)} leaves; expected {len(params)}, as params has")
    for theta, g in zip(params, grads, strict=True):
        if theta.shape != g.shape or theta.dtype != g.dtype:
            raise ValueError(
                f"grads has a leaf of shape {g.shape}, dtype {g.dtype}; "
                f"expected {theta.shape}, {theta.dtype}, as in params"
            )


def _flat(leaves: list[Array], out: Buffers | None = None) -> Buffers:
    """Return a buffer per dtype that holds the leaves of that dtype end to end: new, or those of `out`."""
    by_dtype: dict[Any, list[Array]] = {}
    for leaf in leaves:
        by_dtype.setdefault(leaf.dtype, []).append(leaf.reshape(-1))
    if out is None:
        return {dtype: np.concatenate(parts) for dtype, parts in by_dtype.items()}
    return {dtype: namespace(*parts).concatenate(parts, out=out[dtype]) for dtype, parts in by_dtype.items()}


def _views(leaves: list[Array], flat: Buffers) -> list[Array]:
    """Return consecutive views of the buffers, of the shapes of these leaves."""
    place = dict.fromkeys(flat, 0)
    views = []
    for leaf in leaves:
        start = place[leaf.dtype]
        place[leaf.dtype] = start + leaf.size
        views.append(flat[leaf.dtype][start : start + leaf.size].reshape(leaf.shape))
    return views
