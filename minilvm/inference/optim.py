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
    """How many steps were taken, and the running means of the gradient and its square, flat, by dtype."""

    count: int
    first: dict[Any, Array]
    second: dict[Any, Array]


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
        return AdamState(
            0, {k: np.zeros_like(v) for k, v in flat.items()}, {k: np.zeros_like(v) for k, v in flat.items()}
        )

    def step(self, params: Params, grads: Params, state: AdamState) -> tuple[Params, AdamState]:
        """Return new parameters and the state after the step. The state passed in is spent: its buffers are reused."""
        leaves, slopes = tree.leaves(params), tree.leaves(grads)
        _check_alike(leaves, slopes)
        flat, gradients = _flat(leaves), _flat(slopes)
        state.count += 1
        for dtype, theta in flat.items():
            for chunk in range(0, theta.size, _CHUNK):
                part = slice(chunk, chunk + _CHUNK)
                self._step(
                    theta[part],
                    gradients[dtype][part],
                    state.first[dtype][part],
                    state.second[dtype][part],
                    state.count,
                )
        return _unflat(params, flat), state

    def _step(self, theta: Array, g: Array, m: Array, v: Array, t: int) -> None:
        """Update one chunk of θ, m and v in place."""
        beta1, beta2 = self.betas
        m *= beta1
        m += (1.0 - beta1) * g
        g *= g
        v *= beta2
        g *= 1.0 - beta2
        v += g
        xp = namespace(v)
        denominator = xp.sqrt(v, out=g)
        denominator /= math.sqrt(1.0 - beta2**t)
        denominator += self.eps
        update = xp.divide(m, denominator, out=g)
        update *= self.lr / (1.0 - beta1**t)
        theta -= update


def _check_alike(params: list[Array], grads: list[Array]) -> None:
    if len(grads) != len(params):
        raise ValueError(f"grads has {len(grads)} leaves; expected {len(params)}, as params has")
    for theta, g in zip(params, grads, strict=True):
        if theta.shape != g.shape or theta.dtype != g.dtype:
            raise ValueError(
                f"grads has a leaf of shape {g.shape}, dtype {g.dtype}; "
                f"expected {theta.shape}, {theta.dtype}, as in params"
            )


_CHUNK = 32_768  # elements: four float32 buffers of this length fit a core's cache


def _flat(leaves: list[Array]) -> dict[Any, Array]:
    """A new buffer per dtype, holding the leaves of that dtype end to end."""
    by_dtype: dict[Any, list[Array]] = {}
    for leaf in leaves:
        by_dtype.setdefault(leaf.dtype, []).append(leaf.reshape(-1))
    return {dtype: np.concatenate(parts) for dtype, parts in by_dtype.items()}


def _unflat(params: Params, flat: dict[Any, Array]) -> Params:
    """The tree whose leaves are consecutive views of the buffers."""
    place = dict.fromkeys(flat, 0)

    def view(leaf: Array) -> Array:
        start = place[leaf.dtype]
        place[leaf.dtype] = start + leaf.size
        return flat[leaf.dtype][start : start + leaf.size].reshape(leaf.shape)

    return tree.map(view, params)
