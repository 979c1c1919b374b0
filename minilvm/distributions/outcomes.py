"""Probabilities of outcomes, given as they are or as logits: what the laws of two outcomes share, and those of C."""

from __future__ import annotations

from typing import Any, Self

import minilvm.numpy as np
from minilvm.backend import Array
from minilvm.distributions.base import Distribution
from minilvm.distributions.parameters import (
    Constraint,
    Shape,
    as_parameters,
    broadcast_parameters,
    exactly_one,
    finite,
    log_complement,
    log_probability,
    not_negative,
    probability,
)
from minilvm.numpy import special


def _somewhere(ok: Array) -> Array:
    """Whether an element of each row is so; mostly all are, which is seen in a tenth of the time."""
    return ok if ok.size and ok.all() else ok.any(axis=-1)


log_weight = Constraint("a number below +inf", lambda x: x < np.inf)  # −inf is the log of an exact zero
somewhere_positive = Constraint("positive somewhere in each row", lambda x: _somewhere(x > 0))
somewhere_finite = Constraint("finite somewhere in each row", lambda x: _somewhere(x > -np.inf))


class Outcomes(Distribution):
    """A law with a parameter that is a probability or a logit, and remembers which."""

    parameter: Array
    parameterization: str

    def _set_outcomes(self, probs: Any, logits: Any, *, validate_args: bool, **others: Any) -> None:
        """Fill the fields, with `others` in the same precision."""
        name = exactly_one(type(self).__name__, probs=probs, logits=logits)
        parameter, *arrays = as_parameters(probs if logits is None else logits, *others.values())
        fields = dict(zip(others, arrays, strict=True))
        self._set(parameter=parameter, parameterization=name, validate_args=validate_args, **fields)


class TwoOutcomes(Outcomes):
    """A law given by the probability p of one of two outcomes, or by its log-odds a = log(p / (1 − p))."""

    def _set_outcomes(self, probs: Any, logits: Any, *, validate_args: bool, **others: Any) -> None:
        super()._set_outcomes(probs, logits, validate_args=validate_args, **others)
        if others:
            shapes = {name: getattr(self, name).shape for name in others}
            broadcast_parameters(type(self).__name__, **{self.parameterization: self.parameter.shape}, **shapes)
        self._require(self.parameterization, self.parameter, finite if probs is None else probability)

    @property
    def logits(self) -> Array:
        """Log-odds log p − log(1 − p), of shape `batch_shape`; infinite where p is 0 or 1."""
        return self.parameter if self.parameterization == "logits" else self._log_p - self._log_q

    @property
    def probs(self) -> Array:
        """Probability p, of shape `batch_shape`."""
        return self.parameter if self.parameterization == "probs" else special.expit(self.parameter)

    @property
    def _q(self) -> Array:
        """1 − p."""
        return 1.0 - self.parameter if self.parameterization == "probs" else special.expit(-self.parameter)

    @property
    def _log_p(self) -> Array:
        p = self.parameter
        return log_probability(p) if self.parameterization == "probs" else special.log_expit(p)

    @property
    def _log_q(self) -> Array:
        p = self.parameter
        return log_complement(p) if self.parameterization == "probs" else special.log_expit(-p)

    @property
    def batch_shape(self) -> Shape:
        """The shape of the parameter."""
        shape: Shape = self.parameter.shape
        return shape

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(parameter=np.broadcast_to(self.parameter, batch_shape))


class ManyOutcomes(Outcomes):
    """A law given by weights of C outcomes, π once they are divided by their sum, or by the logarithms of weights."""

    def _set_outcomes(self, probs: Any, logits: Any, *, validate_args: bool, **others: Any) -> None:
        super()._set_outcomes(probs, logits, validate_args=validate_args, **others)
        name, parameter = self.parameterization, self.parameter
        if parameter.ndim == 0:
            raise ValueError(f"{type(self).__name__}: {name} has shape (); expected (..., C) for C categories")
        if name == "logits":
            self._require("logits", parameter, log_weight, somewhere_finite)
        else:
            self._require("probs", parameter, not_negative, somewhere_positive)
            self._set(parameter=parameter / np.sum(parameter, axis=-1, keepdims=True))

    @property
    def logits(self) -> Array:
        """Log weights as they were given, or log π."""
        return self.parameter if self.parameterization == "logits" else log_probability(self.parameter)

    @property
    def probs(self) -> Array:
        """The probabilities π, of shape `batch_shape + (C,)`."""
        return self.parameter if self.parameterization == "probs" else np.softmax(self.parameter)

    @property
    def log_probs(self) -> Array:
        """log π, normalised whatever the parameters are."""
        return np.log_softmax(self.logits)

    @property
    def batch_shape(self) -> Shape:
        """The shape of the parameter, less its last axis."""
        shape: Shape = self.parameter.shape[:-1]
        return shape

    @property
    def n_categories(self) -> int:
        """C."""
        return int(self.parameter.shape[-1])

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(parameter=np.broadcast_to(self.parameter, (*batch_shape, self.n_categories)))
