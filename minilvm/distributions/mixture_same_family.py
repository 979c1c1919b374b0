"""Mixtures: a label is drawn, then from the component of that label a value."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng, namespace
from minilvm.distributions.base import Distribution, unchecked
from minilvm.distributions.beta import Beta
from minilvm.distributions.categorical import Categorical
from minilvm.distributions.exponential import Exponential
from minilvm.distributions.gamma import Gamma
from minilvm.distributions.gumbel import Gumbel
from minilvm.distributions.implicit import implicit
from minilvm.distributions.independent import Independent
from minilvm.distributions.laplace import Laplace
from minilvm.distributions.log_normal import LogNormal
from minilvm.distributions.multivariate_normal import MultivariateNormal
from minilvm.distributions.normal import Normal
from minilvm.distributions.parameters import Constraint, Shape, as_parameters, broadcast, broadcast_parameters
from minilvm.distributions.student_t import StudentT
from minilvm.tape import stop_gradient

# Laws of one number, positive on an interval that is the same for all parameters: a mixture of such has no gap, over
# which a draw would have to jump when the weights move.
WITHOUT_GAPS: Final = (Beta, Exponential, Gamma, Gumbel, Laplace, LogNormal, Normal, StudentT)

Conditional = Callable[[int, list[Array]], Distribution]


@dataclass(frozen=True, init=False, eq=False)
class MixtureSameFamily(Distribution):
    """A mixture of C laws of the same kind.

        z ~ Categorical(π_1 … π_C),   p(x) = Σ_c π_c p_c(x)                                     (N3)

    The components are the last axis of a batch of laws. Mean Σ_c π_c μ_c, variance Σ_c π_c (σ_c² + (μ_c − μ)²) of each
    element. Reparameterised (N13) implicitly where the components are `Normal`, or another continuous law of one number
    whose support does not depend on its parameters, or `Independent` of such, or `MultivariateNormal`: x moves so that
    its conditional distribution functions do not, ε_d = F(x_d | x_1 … x_{d−1}), also when the weights π move.

    Parameters
    ----------
    mixture_distribution
        The law of the label, a `Categorical` of C labels whose `batch_shape` broadcasts with that of the mixture.
    component_distribution
        The components, of `batch_shape` (…, C): the last axis is theirs, the others, broadcast with those of the
        weights, are the mixture's `batch_shape`. `event_shape` is the components'.
    validate_args
        Whether to check values: that there is a component in whose support they are.

    Raises
    ------
    ValueError
        The weights are no `Categorical`, the components have no axis, or the two do not fit.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), §9.2. Figurnov, Mohamed and Mnih, arXiv:1805.08498, §4.

    Examples
    --------
    >>> law = MixtureSameFamily(Categorical(probs=[0.25, 0.75]), Normal([-1.0, 1.0], 0.5))
    >>> law.log_prob([-1.0, 0.0]).round(4), law.mean, law.variance
    (array([-1.6111, -2.2258]), np.float64(0.5), np.float64(1.0))
    """

    mixture_distribution: Categorical
    component_distribution: Distribution
    validate_args: bool = tree.static(repr=False)

    def __init__(self, mixture_distribution: Any, component_distribution: Any, *, validate_args: bool = True) -> None:
        weights, components = mixture_distribution, component_distribution
        if not isinstance(weights, Categorical) or not isinstance(components, Distribution):
            raise ValueError(  # noqa: TRY004  (PyTorch's choice)
                f"MixtureSameFamily: {type(weights).__name__} and {type(components).__name__} given; expected a "
                "Categorical, the law of the label, and the components, a law with one more batch axis"
            )
        if components.batch_shape[-1:] != (weights.n_categories,):
            raise ValueError(
                f"MixtureSameFamily: mixture_distribution has {weights.n_categories} categories, and "
                f"component_distribution has batch_shape {components.batch_shape}; expected "
                f"(..., {weights.n_categories}), with the components last"
            )
        broadcast_parameters(
            "MixtureSameFamily", mixture_distribution=weights.batch_shape, components=components.batch_shape[:-1]
        )
        self._set(mixture_distribution=weights, component_distribution=components, validate_args=validate_args)

    @property
    def batch_shape(self) -> Shape:
        """That of the weights broadcast with the components', less its last axis."""
        return broadcast(self.mixture_distribution.batch_shape, self.component_distribution.batch_shape[:-1])

    @property
    def event_shape(self) -> Shape:
        """The components'."""
        return self.component_distribution.event_shape

    @property
    def support(self) -> Constraint:
        """What is in the support of a component."""
        support = self.component_distribution.support
        return Constraint(f"{support.description}, for some component", lambda x: self._is_inside(x, support))

    def _is_inside(self, x: Array, support: Constraint) -> Array:
        """Whether each value is in the support of a component, in all elements of its event."""
        n_missing = max(0, len(self.batch_shape) + len(self.event_shape) - x.ndim)
        x = self._beside_components(np.reshape(x, (*(1 for _ in range(n_missing)), *x.shape)))
        ok = support.check(x)
        n_event = ok.ndim - x.ndim + len(self.event_shape)  # axes of the event that are left: a test may be of rows
        ok = (ok.all(axis=tuple(range(-n_event, 0))) if n_event else ok).any(axis=-1)
        return ok.all(axis=tuple(range(n_missing))) if n_missing else ok

    @property
    def reparameterized(self) -> bool:  # type: ignore[override]  # a constant of most other classes
        """Whether draws move with the weights and with the components' parameters."""
        components = self.component_distribution
        return isinstance(components, MultivariateNormal) or isinstance(_of_elements(components), WITHOUT_GAPS)

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`."""
        batch_shape = self._check_expansion(batch_shape)
        weights, components = self.mixture_distribution, self.component_distribution
        return self._replace(
            mixture_distribution=weights.expand(batch_shape),
            component_distribution=components.expand((*batch_shape, weights.n_categories)),
        )

    def log_prob(self, value: Any) -> Array:
        """Return log Σ_c π_c p_c(x)."""
        x = self._beside_components(self._value(value))
        log_p = unchecked(self.component_distribution).log_prob(x)
        return np.logsumexp(self.mixture_distribution.log_probs + log_p, axis=-1)

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value) = Σ_c π_c P_c(X ≤ value), for components of one number that have it."""
        if self.event_shape:
            self._lacks("distribution function: it is for laws of one number")
        x, *_ = as_parameters(value, *tree.leaves(self))
        below = self.component_distribution.cdf(self._beside_components(x))
        return np.sum(self.mixture_distribution.probs * below, axis=-1)

    def sample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws: of every component one, of which the label chooses."""
        law = self.expand(self.batch_shape)
        rng = default_rng(rng, like=tree.leaves(self)[0])
        label = law.mixture_distribution.sample(sample_shape, rng=rng)
        draws = law.component_distribution.sample(sample_shape, rng=rng)
        axis = -1 - len(self.event_shape)
        label = label.reshape(*label.shape, *(1 for _ in range(-axis)))
        return np.squeeze(np.take_along_axis(draws, label, axis=axis), axis)

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return the same draws, differentiable implicitly in the weights and in the components' parameters.

        Element by element: x_d moves so that Σ_c w_c F_c(x_d | x_1 … x_{d−1}) does not, where the weights w_c of the
        components in the light of the elements before, π_c p_c(x_1 … x_{d−1}) / Σ_b …, move with those.

        Raises
        ------
        TypeError
            The mixture is not reparameterised. The score function (N12) needs only `sample` and `log_prob`.
        """
        if not self.reparameterized:
            return super().rsample(sample_shape, rng=rng)
        draws = self.sample(sample_shape, rng=rng)
        if not self._is_traced():
            return draws
        n_elements = math.prod(self.event_shape)
        elements = draws.reshape(*draws.shape[: draws.ndim - len(self.event_shape)], n_elements)
        conditional = _conditionals(unchecked(self.component_distribution), n_elements)
        log_w = self.mixture_distribution.log_probs
        moving: list[Array] = []
        for d in range(n_elements):
            x, law = elements[..., d], conditional(d, moving)
            log_p = np.logsumexp(np.log_softmax(log_w) + law.log_prob(x[..., None]), axis=-1)
            F = np.sum(np.softmax(log_w) * law.cdf(x[..., None]), axis=-1)
            moving.append(implicit(x, (_slope,), F, stop_gradient(log_p)))
            log_w = log_w + law.log_prob(moving[-1][..., None])
        return np.reshape(np.stack(moving, axis=-1), draws.shape)

    @property
    def mean(self) -> Array:
        """Σ_c π_c μ_c, of shape `batch_shape + event_shape`."""
        return self._average(self.component_distribution.mean)

    @property
    def variance(self) -> Array:
        """Σ_c π_c (σ_c² + (μ_c − μ)²): of the components, and between them."""
        law = self.component_distribution
        return self._average(law.variance + np.square(law.mean - self._beside_components(self.mean)))

    def _average(self, x: Array) -> Array:
        """Σ_c π_c x_c, for x of shape `batch_shape + (C,) + event_shape`."""
        weights, n = self.mixture_distribution.probs, len(self.event_shape)
        return np.sum(np.reshape(weights, (*weights.shape, *(1 for _ in range(n)))) * x, axis=-1 - n)

    def _beside_components(self, x: Array) -> Array:
        """Values with an axis for the components, before those of the event."""
        return np.expand_dims(x, -1 - len(self.event_shape))


def _slope(x: Array, F: Array, log_p: Array) -> Array:
    """∂x/∂F = −1 / p(x), where x moves so that F does not."""
    del x, F
    return -numpy.exp(-log_p)


def _of_elements(law: Distribution) -> Distribution:
    """The law of each element of an event, where they are independent."""
    while isinstance(law, Independent):
        law = law.base
    return law


def _conditionals(components: Distribution, n_elements: int) -> Conditional:
    """The law of element d in each component, given the elements before it, as a function of d and of these."""
    if isinstance(components, MultivariateNormal):
        return _normal_conditionals(components)
    law = _of_elements(components)
    shape = (*components.batch_shape, n_elements)
    laws = tree.map(lambda leaf: np.reshape(np.broadcast_to(leaf, law.batch_shape), shape), law)
    return lambda d, _: tree.map(lambda leaf: leaf[..., d], laws)


def _normal_conditionals(components: MultivariateNormal) -> Conditional:
    """Where A = L⁻¹, Σ_e A_de (x_e − μ_e) is standard normal, given what comes before d, as A is lower triangular."""
    mu, L = components.loc, components.scale_tril
    A = np.linalg.solve_triangular(L, namespace(L).eye(L.shape[-1], dtype=L.dtype), lower=True)

    def conditional(d: int, before: list[Array]) -> Normal:
        mean, scale = mu[..., d], 1.0 / A[..., d, d]
        if before:
            deviation = np.expand_dims(np.stack(before, axis=-1), -2) - mu[..., :d]
            mean = mean - scale * np.sum(A[..., d, :d] * deviation, axis=-1)
        return Normal(mean, scale, validate_args=False)

    return conditional
