"""Transformed: the law of a draw that is then mapped, by the change of variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array
from minilvm.distributions.base import Distribution, sum_rightmost, unchecked
from minilvm.distributions.bijections import Bijection
from minilvm.distributions.parameters import (
    Constraint,
    Shape,
    as_parameters,
    broadcast_shapes,
    probability,
)
from minilvm.tape import stop_gradient


@dataclass(frozen=True, init=False, eq=False)
class Transformed(Distribution):
    """The law of y = t_n(… t_1(x)), where x has a density and the bijections t act on each element.

        log p(y) = log p(x) − Σ_i log |dt_i/dx_{i−1}|,   x_0 = x = t_1⁻¹(… t_n⁻¹(y)),   x_i = t_i(x_{i−1})

    summed over the elements of an event too. Reparameterised if the base is (N13): draws are mapped as they are. Mean,
    variance, mode and entropy have no closed form in general (`LogNormal` is one that has).

    Parameters
    ----------
    base
        The law of x, continuous; all it can draw must be in the domain of the first bijection.
    transforms
        The bijections, the first to be applied first; or one.
    validate_args
        Whether to check values: that they are the image of something that the base can draw.

    Raises
    ------
    ValueError
        The parameters of a bijection do not broadcast with the batch and event shape of the base.

    References
    ----------
    Rezende and Mohamed, arXiv:1505.05770, eq. 5-7. Dillon et al., arXiv:1711.10604, §4 (bijectors).

    Examples
    --------
    A number between 0 and 1 with normal log-odds:

    >>> from minilvm.distributions import Normal, SigmoidTransform
    >>> law = Transformed(Normal(0.0, 1.0), SigmoidTransform())
    >>> law.log_prob([0.1, 0.5]).round(4), law.cdf(0.5)
    (array([-0.9249,  0.4674]), array(0.5))
    """

    base: Distribution
    transforms: tuple[Bijection, ...]
    validate_args: bool = tree.static(repr=False)

    def __init__(
        self, base: Distribution, transforms: Bijection | Sequence[Bijection], *, validate_args: bool = True
    ) -> None:
        transforms = (transforms,) if isinstance(transforms, Bijection) else tuple(transforms)
        event = base.event_shape
        shape = broadcast_shapes(base.batch_shape + event, *(t.shape for t in transforms))
        if shape is None or shape[len(shape) - len(event) :] != event:
            raise ValueError(
                f"Transformed: {type(base).__name__} has batch_shape {base.batch_shape} and event_shape {event}; "
                f"expected transforms with parameters that broadcast with both, and stretch only the batch, but "
                f"theirs have shapes {', '.join(str(t.shape) for t in transforms)}"
            )
        batch = shape[: len(shape) - len(event)]
        if batch != base.batch_shape:
            base = base.expand(batch)
        self._set(base=base, transforms=transforms, validate_args=validate_args)

    @property
    def batch_shape(self) -> Shape:
        """The base's, as the parameters of the bijections stretch it."""
        return self.base.batch_shape

    @property
    def event_shape(self) -> Shape:
        """The base's."""
        return self.base.event_shape

    @property
    def support(self) -> Constraint:
        """The image of the base's support."""
        names = ", ".join(type(t).__name__ for t in self.transforms)
        return Constraint(f"the image by {names} of what is {self.base.support.description}", self._is_image)

    @property
    def reparameterized(self) -> bool:  # type: ignore[override]  # a constant of every other class
        """Whether the base is."""
        return self.base.reparameterized

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(base=self.base.expand(batch_shape))

    def log_prob(self, value: Any) -> Array:
        """Return log p(x) − Σ_i log |dt_i/dx_{i−1}|, and −inf where value is no image."""
        x, log_slope, inside = self._pulled_back(self._value(value))
        log_slope = np.where(inside, log_slope, np.inf)
        return unchecked(self.base).log_prob(x) - sum_rightmost(log_slope, len(self.event_shape))

    def cdf(self, value: Any) -> Array:
        """Return P(Y ≤ value) = P(X ≤ x), or 1 less that where the bijections decrease; for a law of one number."""
        if self.event_shape:
            return super().cdf(value)
        y, *_ = as_parameters(value, *tree.leaves(self))
        unknown = np.isnan(y)
        stages = []
        for t in reversed(self.transforms):
            inside = t.codomain.check(y)
            stages.append((t, inside, np.greater(y, t.interior)))
            y = t.inverse(np.where(inside, y, t.interior))
        p = self.base.cdf(y)
        for t, inside, above in reversed(stages):
            p = np.where(inside, t.turned(p), above)  # beyond an end of the codomain is all the mass, or none
        return np.where(unknown, np.nan, p)

    def icdf(self, value: Any) -> Array:
        """Return the quantile at probability `value`, t of that of the base; for a law of one number.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1.
        """
        if self.event_shape:
            return super().icdf(value)
        p, *_ = as_parameters(value, *tree.leaves(self))
        self._require("value", p, probability)
        for t in self.transforms:
            p = t.turned(p)
        return self._mapped(self.base.icdf(p))

    def sample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws of the base, mapped, as constants."""
        law = tree.map(stop_gradient, self)
        return law._mapped(law.base.sample(sample_shape, rng=rng))  # noqa: SLF001 (its own class)

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws of the base, mapped, differentiable in the parameters of both (N13)."""
        return self._mapped(self.base.rsample(sample_shape, rng=rng))

    def _mapped(self, x: Array) -> Array:
        """t_n(… t_1(x))."""
        for t in self.transforms:
            x = t(x)
        return x

    def _pulled_back(self, y: Array) -> tuple[Array, Array, Array]:
        """x, Σ_i log |dt_i/dx_{i−1}| of each element, and whether it has an x; where not, that of some y which has."""
        log_slope, inside = np.zeros_like(y), np.isfinite(y)
        for t in reversed(self.transforms):
            possible = t.codomain.check(y)
            inside = inside & possible
            y = np.where(possible, y, t.interior)
            x = t.inverse(y)
            log_slope = log_slope + t.log_abs_det_jacobian(x, y)
            y = x
        return y, log_slope, inside

    def _is_image(self, y: Array) -> Array:
        x, _, inside = self._pulled_back(y)
        drawn = self.base.support.check(x)
        n = max(0, inside.ndim - drawn.ndim)  # a support may be of whole events
        return drawn & (np.all(inside, axis=tuple(range(-n, 0))) if n else inside)
