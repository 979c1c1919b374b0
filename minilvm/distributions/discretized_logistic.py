"""The discretised logistic law: a pixel's grey level, whose levels have an order that a categorical would not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, namespace
from minilvm.distributions.base import Distribution
from minilvm.distributions.logistic import draw_logistic
from minilvm.distributions.parameters import (
    Constraint,
    Shape,
    as_parameters,
    broadcast,
    broadcast_parameters,
    finite,
    positive_finite,
    probability,
    times_log,
)
from minilvm.numpy import special
from minilvm.tape import stop_gradient


@dataclass(frozen=True, init=False, eq=False)
class DiscretizedLogistic(Distribution):
    """The law of a level x = low, …, high: a logistic variable, rounded; the end levels take the tails beyond them.

        p(x) = σ(b) − σ(a),   a = (x − ½ − μ) / s,   b = (x + ½ − μ) / s,   a = −∞ at low and b = +∞ at high
        log p(x) = log σ(b) + log σ(−a) + log(1 − exp(−1/s))

    The second line, without its last term at the ends and without the term that is 0 there, is how it is computed:
    nothing cancels, however far x is from μ. Any other x scores −inf. `MixtureSameFamily` of these is the likelihood of
    PixelCNN++. Not reparameterised: use the score function (N12). Mean, variance and entropy are sums over the levels.

    Parameters
    ----------
    loc
        μ, in levels: for grey levels 0 … 255 and a network whose output y is between 0 and 1, 255 y.
    scale
        s > 0, in levels. The two shapes broadcast to `batch_shape`; `event_shape` is ().
    low, high
        The least level and the greatest, integers.
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        A parameter is NaN or infinite, `scale` is not positive, the shapes do not broadcast, or `low` and `high` are no
        integers in order.

    References
    ----------
    Salimans, Karpathy, Chen and Kingma, *PixelCNN++*, arXiv:1701.05517, eq. 2. Kingma et al., arXiv:1606.04934, §5.2.

    Examples
    --------
    >>> law = DiscretizedLogistic([0.0, 128.0], 2.0)
    >>> law.log_prob([[0], [128], [255]]).round(4)
    array([[  -0.5759,  -63.75  ],
           [ -64.6828,   -2.0846],
           [-127.25  ,  -63.25  ]])
    """

    loc: Array
    scale: Array
    low: int = tree.static()
    high: int = tree.static()
    validate_args: bool = tree.static(repr=False)

    def __init__(self, loc: Any, scale: Any, low: int = 0, high: int = 255, *, validate_args: bool = True) -> None:
        loc, scale = as_parameters(loc, scale)
        broadcast_parameters("DiscretizedLogistic", loc=loc.shape, scale=scale.shape)
        if int(low) != low or int(high) != high or low > high:
            raise ValueError(f"DiscretizedLogistic: low is {low} and high {high}; expected integers in this order")
        self._set(loc=loc, scale=scale, low=int(low), high=int(high), validate_args=validate_args)
        self._require("loc", loc, finite)
        self._require("scale", scale, positive_finite)

    @property
    def batch_shape(self) -> Shape:
        """The shape that μ and s broadcast to."""
        return broadcast(self.loc.shape, self.scale.shape)

    @property
    def support(self) -> Constraint:
        """The integers from low to high."""
        low, high = self.low, self.high
        return Constraint(f"an integer from {low} to {high}", lambda x: (x >= low) & (x <= high) & (np.floor(x) == x))

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`, by broadcasting `loc`."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(loc=np.broadcast_to(self.loc, batch_shape))

    def log_prob(self, value: Any) -> Array:
        """Return log(σ(b) − σ(a)), and −inf for what is no level."""
        return self._supported(self._log_mass, stop_gradient(self._value(value)), self.low)

    def _log_mass(self, x: Array) -> Array:
        above_low, below_high = x > self.low, x < self.high
        z = x - self.loc
        log_sigma_b = np.where(below_high, special.log_expit((z + 0.5) / self.scale), 0.0)
        log_sigma_minus_a = np.where(above_low, special.log_expit((0.5 - z) / self.scale), 0.0)
        log_width = np.where(above_low & below_high, np.log(-np.expm1(-1.0 / self.scale)), 0.0)
        return log_sigma_b + log_sigma_minus_a + log_width

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value) = σ((⌊value⌋ + ½ − μ) / s); 0 below `low`, and 1 from `high` on."""
        x, _ = as_parameters(value, self.loc)
        x = stop_gradient(np.floor(x))
        inside = special.expit((np.clip(x, self.low, self.high) + 0.5 - self.loc) / self.scale)
        return np.where(x < self.low, 0.0, np.where(x >= self.high, 1.0, inside))

    def icdf(self, value: Any) -> Array:
        """Return the quantile, μ + s logit(value) rounded to a level.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1.
        """
        u, _ = as_parameters(value, self.loc)
        self._require("value", u, probability)
        return self._rounded(special.logit(stop_gradient(u)))

    def sample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return levels in the parameters' precision, of shape `sample_shape + batch_shape`."""
        return self._rounded(draw_logistic(self._shape(sample_shape), like=stop_gradient(self.loc), rng=rng))

    def _rounded(self, standard: Array) -> Array:
        """μ + s z rounded to a level, ½ downwards, as the distribution function has it."""
        z = stop_gradient(self.loc) + stop_gradient(self.scale) * standard
        return np.clip(np.ceil(z - 0.5), self.low, self.high)

    def enumerate_support(self) -> Array:
        """Return the levels in order, of shape `(high − low + 1,) + batch_shape`."""
        levels = namespace(self.loc).arange(self.low, self.high + 1, dtype=self.dtype)
        return np.broadcast_to(levels.reshape(-1, *(1 for _ in self.batch_shape)), (len(levels), *self.batch_shape))

    @property
    def mean(self) -> Array:
        """Σ_x x p(x), of shape `batch_shape`."""
        x = self.enumerate_support()
        return np.sum(x * np.exp(self._log_mass(x)), axis=0)

    @property
    def variance(self) -> Array:
        """Σ_x (x − mean)² p(x)."""
        x = self.enumerate_support()
        return np.sum(np.square(x - self.mean) * np.exp(self._log_mass(x)), axis=0)

    @property
    def mode(self) -> Array:
        """The level nearest μ, or an end level if that has more in its tail."""
        best = np.broadcast_to(np.clip(np.rint(self.loc), self.low, self.high), self.batch_shape)
        for level in (np.full_like(best, self.low), np.full_like(best, self.high)):
            best = np.where(self._log_mass(level) > self._log_mass(best), level, best)
        return stop_gradient(best)

    def entropy(self) -> Array:
        """Return −Σ_x p(x) log p(x)."""
        log_p = self._log_mass(self.enumerate_support())
        return -np.sum(times_log(np.exp(log_p), log_p), axis=0)
