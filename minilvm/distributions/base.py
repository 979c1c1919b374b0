"""What every law has in common: parameters, shapes, and how it is asked for a density or for a draw.

A law is a frozen dataclass whose fields are its parameters, so it is a tree (`minilvm.tree`): it can be mapped over,
handed to a function that is being differentiated, and stepped by an optimiser. Parameters broadcast against one another
and are stored as they were given; `batch_shape` is what they broadcast to, one law for each of its elements. There are
three kinds of axis, always in this order (arXiv:1711.10604, §3.3):

    value.shape = sample_shape + batch_shape + event_shape

A law states its fields, `batch_shape`, `support`, `expand`, `log_prob`, `rsample` or `sample`, and what moments it has;
what it leaves out says so when asked for.
"""

from __future__ import annotations

import abc
import copy
from collections.abc import Callable
from typing import Any, ClassVar, Final, NoReturn, Self, TypeVar

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array
from minilvm.distributions.parameters import (
    Constraint,
    Shape,
    as_parameters,
    as_shape,
    broadcast_shapes,
    is_floating,
    require,
)
from minilvm.tape import Tensor, stop_gradient

MOST_ELEMENTS: Final = 2**28  # of an enumeration: 2 GB of float64
D = TypeVar("D", bound="Distribution")


class Distribution(abc.ABC):
    """A law of probability, or an array of them.

    With `validate_args`, a parameter outside its domain is refused when the law is made, and a value outside the
    support when its density is asked for. Numbers are looked at only where none is traced: inside `grad` that would be
    a pass over the data in every training step, so there only shapes are checked.

    Attributes
    ----------
    validate_args : bool
        Whether to check parameters and values. Without it a value outside the support scores exactly −inf, and sends no
        gradient (`Bernoulli` and `OneHotCategorical` score what is between, by their formulas); where every number is
        in the support, what is no number scores whatever the formula gives.
    reparameterized : bool
        Whether a draw is a differentiable function of the parameters, z = g(ε; φ) (N13), so that `rsample` exists.
    relaxation : str
        Where it is not: the law to draw from instead, at the price of a bias, as `rsample` then says.
    """

    validate_args: bool
    reparameterized: ClassVar[bool] = False
    relaxation: ClassVar[str] = "a continuous relaxation of the law"

    # Shapes and support ----------------------------------------------------------------------------------------------

    @property
    @abc.abstractmethod
    def batch_shape(self) -> Shape:
        """The shape of the array of laws."""

    @property
    def event_shape(self) -> Shape:
        """The shape of one draw from one law; () for a law of one number."""
        return ()

    @property
    @abc.abstractmethod
    def support(self) -> Constraint:
        """Where the density is positive, as a test of each element of a value."""

    @property
    def dtype(self) -> numpy.dtype[Any]:
        """The precision of the parameters, and so of densities and draws."""
        return numpy.result_type(*(parameter.dtype for parameter in tree.leaves(self)))

    @abc.abstractmethod
    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`, without copying. A number K stands for (K,).

        Raises
        ------
        ValueError
            The law's own `batch_shape` does not broadcast to `batch_shape`.
        """

    # Densities -------------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def log_prob(self, value: Any) -> Array:
        """Return log p(value) in nats, of the shape of `value` broadcast with `batch_shape`, less the event's axes.

        Raises
        ------
        ValueError
            The shape of `value` does not end in `event_shape`, or does not broadcast with `batch_shape`; or, where
            nothing is traced, an element is NaN, infinite or outside the support. Not with `validate_args=False`.
        """

    def _summed_log_prob(self, value: Any, n: int) -> Array:
        """log p, summed over the last n axes of the batch: what `Independent` asks for; a law may know a short cut."""
        return sum_rightmost(self.log_prob(value), n)

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value), for a law of one number."""
        del value
        self._lacks("distribution function in closed form")

    def icdf(self, value: Any) -> Array:
        """Return the quantile at probability `value`: the least x with P(X ≤ x) ≥ value, for a law of one number.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1, where nothing is traced. Not with `validate_args=False`.
        """
        del value
        self._lacks("quantile function in closed form")

    # Draws -----------------------------------------------------------------------------------------------------------

    def sample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws as constants, plain arrays even where the parameters are traced.

        Parameters
        ----------
        sample_shape
            How many draws of each law: the result has shape `sample_shape + batch_shape + event_shape`. A number K
            stands for (K,).
        rng
            A seed (0 is one), or a generator of the library that the parameters are arrays of.
        """
        return tree.map(stop_gradient, self).rsample(sample_shape, rng=rng)

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws that are differentiable in the parameters, z = g(ε; φ) with ε free of φ (N13). See `sample`.

        Raises
        ------
        TypeError
            The law is not reparameterised. The score function (N12) needs only `sample` and `log_prob`.
        """
        del sample_shape, rng
        raise TypeError(
            f"{type(self).__name__} is not reparameterised: its draws are no smooth function of its parameters. Use "
            'minilvm.estimators.expectation(..., estimator="score_function"), which is unbiased for any law; or '
            f"{self.relaxation}, which is biased"
        )

    def enumerate_support(self) -> Array:
        """Return all S values that the law can take, of shape `(S,) + batch_shape + event_shape`."""
        self._lacks("finite support to enumerate")

    # Moments ---------------------------------------------------------------------------------------------------------

    @property
    def mean(self) -> Array:
        """E[X], of shape `batch_shape + event_shape`."""
        self._lacks("mean in closed form")

    @property
    def variance(self) -> Array:
        """E[(X − E[X])²] of each element, of shape `batch_shape + event_shape`."""
        self._lacks("variance in closed form")

    @property
    def stddev(self) -> Array:
        """The square root of the variance."""
        return np.sqrt(self.variance)

    @property
    def mode(self) -> Array:
        """The value of greatest density, of shape `batch_shape + event_shape`."""
        self._lacks("mode in closed form")

    def entropy(self) -> Array:
        """Return H(p) = −E[log p(X)] in nats, of shape `batch_shape`."""
        self._lacks("entropy in closed form")

    # For the laws ----------------------------------------------------------------------------------------------------

    def _set(self, **fields: Any) -> None:
        """Fill the fields, once, in `__init__`."""
        vars(self).update(fields)

    def _replace(self, **fields: Any) -> Self:
        """The same law with other parameters, which are not checked again."""
        other = copy.copy(self)
        vars(other).update(fields)
        return other

    def _shape(self, sample_shape: int | Shape) -> Shape:
        """The shape of draws."""
        return as_shape(sample_shape) + self.batch_shape + self.event_shape

    def _value(self, value: Any) -> Array:
        """The argument of `log_prob`, as an array of floats (integers take the law's precision), and checked."""
        if not is_floating(value):
            value, *_ = as_parameters(value, *tree.leaves(self))
        if self.validate_args:
            self._check_shape(value.shape)
            self._require("value", value, self.support)
        return value

    def _supported(self, log_density: Callable[[Array], Array], x: Array, stand_in: float) -> Array:
        """log p(x) within the support, and −inf outside: the formula meets a `stand_in` there, so no NaN comes back."""
        inside = self.support.check(x)
        return np.where(inside, log_density(np.where(inside, x, stand_in)), -numpy.inf)

    def _check_shape(self, shape: Shape) -> None:
        event = self.event_shape
        if shape == self.batch_shape + event:
            return
        n = len(shape) - len(event)
        if n < 0 or shape[n:] != event or broadcast_shapes(shape[:n], self.batch_shape) is None:
            raise ValueError(
                f"{type(self).__name__}: value has shape {shape}; expected one that ends in event_shape {event} after "
                f"axes that broadcast with batch_shape {self.batch_shape}: samples come first, and value[:, None] lets "
                "each value meet every law of a batch"
            )

    def _check_expansion(self, batch_shape: int | Shape) -> Shape:
        """The shape to expand to, as a tuple."""
        shape = as_shape(batch_shape)
        if broadcast_shapes(self.batch_shape, shape) != shape:
            raise ValueError(f"{type(self).__name__}: batch_shape {self.batch_shape} does not broadcast to {shape}")
        return shape

    def _require(self, name: str, x: Array, *constraints: Constraint) -> None:
        """Raise unless x meets the constraints, naming the first element that does not; look at nothing traced."""
        if not self.validate_args or type(x) is Tensor or self._is_traced():
            return
        require(type(self).__name__, name, x, *constraints)

    def _is_traced(self) -> bool:  # looks at the fields first: to walk the tree takes three times as long
        return Tensor in map(type, vars(self).values()) or Tensor in map(type, tree.leaves(self))

    def _lacks(self, what: str) -> NoReturn:
        raise NotImplementedError(f"{type(self).__name__} has no {what}")


def unchecked(law: D) -> D:
    """Return the same law with `validate_args=False`, and so the laws that it is made of."""
    other = copy.copy(law)
    parts = {name: unchecked(part) for name, part in vars(law).items() if isinstance(part, Distribution)}
    vars(other).update(parts, validate_args=False)
    return other


def sum_rightmost(x: Array, n: int) -> Array:
    """Return the sum over the last `n` axes."""
    return np.sum(x, axis=tuple(range(-n, 0))) if n else x
