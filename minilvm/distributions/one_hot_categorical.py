"""The categorical law of one-hot vectors: one of C labels, written so that it has a mean and enters a product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, namespace
from minilvm.distributions.categorical import draw_labels
from minilvm.distributions.outcomes import ManyOutcomes
from minilvm.distributions.parameters import Constraint, Shape, times_log
from minilvm.tape import stop_gradient

one_hot = Constraint(
    "a vector of zeros and a single 1", lambda x: ((x == 0) | (x == 1)).all(axis=-1) & (x.sum(axis=-1) == 1)
)


@dataclass(frozen=True, init=False, eq=False)
class OneHotCategorical(ManyOutcomes):
    """The categorical law of one-hot vectors x of length C: x_z = 1 for a label z, and 0 elsewhere.

        log p(x) = Σ_c x_c log π_c,     0 log 0 = 0

    `Categorical` with the label spelled out, so with the same entropy; but x has a mean, π, and each of its elements a
    variance, π_c (1 − π_c). A probability of exactly 0 (a logit of −inf) scores exactly −inf, and sends no gradient
    elsewhere. Not reparameterised: use the score function (N12). The mode is the one-hot vector of argmax π.

    Parameters
    ----------
    probs
        Weights π_c ≥ 0, of shape `batch_shape + (C,)`, divided here by their sum; `event_shape` is (C,).
    logits
        Log weights, in place of `probs` and better for learning; −inf is allowed, though not for all of them.
    validate_args
        Whether to check parameters and values. Without it `log_prob` is the formula above for any x, such as a draw of
        `RelaxedOneHotCategorical`; that is a usual objective, but no density.

    Raises
    ------
    ValueError
        Not exactly one of `probs` and `logits` is given; a weight is negative, NaN or infinite, or all of a row are 0.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), eq. 2.26.

    Examples
    --------
    >>> law = OneHotCategorical(probs=[1.0, 3.0, 0.0])
    >>> law.log_prob([[0, 1, 0], [0, 0, 1]]).round(4), law.mean
    (array([-0.2877,    -inf]), array([0.25, 0.75, 0.  ]))
    """

    parameter: Array
    parameterization: str = tree.static()
    validate_args: bool = tree.static(repr=False)

    relaxation = "RelaxedOneHotCategorical"

    def __init__(self, probs: Any = None, logits: Any = None, *, validate_args: bool = True) -> None:
        self._set_outcomes(probs, logits, validate_args=validate_args)

    @property
    def event_shape(self) -> Shape:
        """(C,)."""
        return (self.n_categories,)

    @property
    def support(self) -> Constraint:
        """The C one-hot vectors."""
        return one_hot

    def log_prob(self, value: Any) -> Array:
        """Return Σ_c x_c log π_c."""
        return np.sum(times_log(self._value(value), self.log_probs), axis=-1)

    def sample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return one-hot vectors in the parameters' precision, of shape `sample_shape + batch_shape + (C,)`."""
        return self._one_hot(draw_labels(stop_gradient(self.probs), self._shape(sample_shape)[:-1], rng=rng))

    def enumerate_support(self) -> Array:
        """Return the C one-hot vectors in order of their labels, of shape `(C,) + batch_shape + (C,)`."""
        C, batch = self.n_categories, self.batch_shape
        rows = namespace(self.parameter).eye(C, dtype=self.dtype).reshape(C, *(1 for _ in batch), C)
        return np.broadcast_to(rows, (C, *batch, C))

    @property
    def mean(self) -> Array:
        """π, of shape `batch_shape + (C,)`."""
        return self.probs

    @property
    def variance(self) -> Array:
        """π_c (1 − π_c)."""
        p = self.probs
        return p * (1.0 - p)

    @property
    def mode(self) -> Array:
        """The one-hot vector of the most probable label."""
        return self._one_hot(np.argmax(self.parameter, axis=-1))

    def entropy(self) -> Array:
        """Return −Σ_c π_c log π_c."""
        return -np.sum(times_log(self.probs, self.log_probs), axis=-1)

    def _one_hot(self, label: Array) -> Array:
        return (label[..., None] == namespace(label).arange(self.n_categories)).astype(self.dtype)
