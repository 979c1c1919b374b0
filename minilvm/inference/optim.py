"""Optimisers: steps against a gradient, for any tree of parameters.

The parameters of one dtype are laid out in one flat buffer, so that a step is a handful of passes over memory, in
chunks that stay in cache, however many arrays there are.
"""

from __future__ import annotations

import math
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
        return tree.map(lambda p, g: p - self.lr * g, params, grads), state


@dataclass
class AdamState:
    """How many steps were taken, and flat buffers by dtype: the running means of the gradient and of its square.

    `params` and `flat` are the parameters last returned and the buffers that they are views of: if they come back, they
    need not be gathered again.
    """

    count: int
    first: Buffers
    second: Buffers
    gradient: Buffers
    params: Any
    flat: Buffers


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
        flat = _flat(tree.leaves(params))
        first, second, gradient = ({dtype: np.zeros_like(theta) for dtype, theta in flat.items()} for _ in range(3))
        return AdamState(0, first, second, gradient, params, flat)

    def step(self, params: Params, grads: Params, state: AdamState) -> tuple[Params, AdamState]:
        """Return new parameters and the state after the step. The state passed in is spent: its buffers are reused."""
        leaves, slopes = tree.leaves(params), tree.leaves(grads)
        _check_alike(leaves, slopes)
        flat = state.flat if params is state.params else _flat(leaves)
        gradient = _flat(slopes, out=state.gradient)
        moved = {dtype: namespace(theta).empty_like(theta) for dtype, theta in flat.items()}
        state.count += 1
        for dtype, theta in flat.items():
            buffers = (theta, gradient[dtype], state.first[dtype], state.second[dtype], moved[dtype])
            for start in range(0, theta.size, _CHUNK):
                self._step(state.count, tuple([buffer[start : start + _CHUNK] for buffer in buffers]))
        state.params, state.flat = _views(params, moved), moved
        return state.params, state

    def _step(self, t: int, buffers: tuple[Array, ...]) -> None:
        """Write one chunk of the new θ into `moved`, update m and v in place, and use up g."""
        theta, g, m, v, moved = buffers
        beta1, beta2 = self.betas
        xp = namespace(theta)
        m *= beta1
        m += xp.multiply(g, 1.0 - beta1, out=moved)
        v *= beta2
        g *= g
        g *= 1.0 - beta2
        v += g
        denominator = xp.sqrt(v, out=g)
        denominator /= math.sqrt(1.0 - beta2**t)
        denominator += self.eps
        update = xp.divide(m, denominator, out=moved)
        update *= self.lr / (1.0 - beta1**t)
        xp.subtract(theta, update, out=moved)


_CHUNK = 32_768  # elements: five float32 buffers of this length fit a core's cache


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


def _views(params: Params, flat: Buffers) -> Params:
    """Return the tree of this structure whose leaves are consecutive views of the buffers."""
    place = dict.fromkeys(flat, 0)

    def view(leaf: Array) -> Array:
        start = place[leaf.dtype]
        place[leaf.dtype] = start + leaf.size
        return flat[leaf.dtype][start : start + leaf.size].reshape(leaf.shape)

    return tree.map(view, params)
