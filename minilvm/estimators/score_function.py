"""The score function (N12): differentiate the probabilities, and ask nothing of r but its values. And its baselines.

    ∇ E_q[r] = E_q[(r − b) ∇ log q + ∇ r],     b free of the draw that it is subtracted from

since E_q[b ∇ log q] = b ∇ Σ q = 0. Every baseline here is free of its draw by construction: it is a number that was
known before the draw, or it is made of the *other* draws. A baseline that contains its own draw shrinks the gradient by
(K − 1) / K, and looks right in every direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import minilvm.numpy as np
from minilvm import tree
from minilvm.autograd import vjp
from minilvm.backend import Array, namespace
from minilvm.distributions import Distribution
from minilvm.estimators.contracts import Integrand, base, differential, evaluated, finite, moved
from minilvm.tape import stop_gradient


def score_function(r: Integrand, q: Distribution, n_samples: int, rng: Any, baseline: Any = "none") -> Array:
    """Return (1/K) Σ_k r(z_k) q(z_k; φ) / q(z_k), with the lower q held fixed: a ratio that is 1, of slope ∇ log q.

    Less the baseline it is r + (r − b) (ratio − 1). Derivatives of every order are unbiased, as N12 applied to N12 is.
    (Williams, *Machine Learning* 8, 1992; the ratio: Foerster et al., arXiv:1802.05098.)
    """
    check_baseline(baseline, q, n_samples)
    z = q.sample((n_samples,), rng=rng)
    log_q = q.log_prob(z)
    value = evaluated(r, z, log_q.shape)
    r_k = finite(value)
    b = of_draws(baseline, stop_gradient(r_k), q, z)
    return moved(value.mean(axis=0), ((r_k - b) * np.expm1(differential(log_q))).mean(axis=0))


def of_draws(baseline: Any, r_k: Array, q: Distribution, z: Array) -> Array:
    """Return b_k for each r_k (K, …), independent of z_k."""
    if isinstance(baseline, str):
        return _NAMED[baseline](r_k, q, z)
    return stop_gradient(baseline)


def none(r_k: Array, q: Distribution, z: Array) -> Array:
    """Subtract nothing."""
    del r_k, q, z
    return 0.0


def leave_one_out(r_k: Array, q: Distribution, z: Array) -> Array:
    """Return b_k = (1/(K−1)) Σ_{j≠k} r_j, the mean of the others (Kool, van Hoof and Welling, 2019).

    As the sum less one's own: what rounding leaves of that is of the size of the rounding that r_k has anyway.
    """
    del q, z
    return (r_k.sum(axis=0) - r_k) / (len(r_k) - 1)


def optimal(r_k: Array, q: Distribution, z: Array) -> Array:
    """Return b_k = Σ_{j≠k} r_j ‖s_j‖² / Σ_{j≠k} ‖s_j‖², from the others an estimate of the b of least total variance.

    The variance of (r − b) s, summed over the parameters that q has for each of its laws, is least at
    b = E[r ‖s‖²] / E[‖s‖²]. (Greensmith, Bartlett and Baxter, *JMLR* 5, 2004.)
    """
    weight = _squared_score(q, z)
    # Sums over the others, not the sum less one's own: of a large one its rounding would remain, and know the draw.
    others = 1.0 - namespace(weight).eye(len(z), dtype=weight.dtype)
    total = np.tensordot(others, weight, 1)
    return np.tensordot(others, r_k * weight, 1) / np.where(total > 0.0, total, 1.0)


def _squared_score(q: Distribution, z: Array) -> Array:
    """‖∇ log q(z_kn)‖² for every draw: copy the parameters for each draw, and take the gradient of the sum."""
    K, leaves = len(z), [stop_gradient(leaf) for leaf in tree.leaves(q)]
    own = [_is_of_each_law(q, leaves, i, z) for i in range(len(leaves))]  # the rest are shared by laws
    copies = [np.broadcast_to(leaf, (K, *leaf.shape)) if mine else leaf for leaf, mine in zip(leaves, own, strict=True)]
    log_q, pullback = vjp(lambda law: law.log_prob(z), tree.unflatten(q, copies))
    scores = tree.leaves(pullback(np.ones_like(log_q))[0])
    squares = [np.square(s).reshape(*log_q.shape, -1).sum(axis=-1) for s, mine in zip(scores, own, strict=True) if mine]
    return sum(squares, np.zeros_like(log_q))


def _is_of_each_law(q: Distribution, leaves: list[Array], i: int, z: Array) -> bool:
    """Whether a parameter has a row for each law. A shared one may look it, as a matrix (L, L) for L laws does.

    But of copies of that there would be too many or too few for the laws that there are, and of rows there are not.
    """
    law = base(q)
    batch, rank = law.batch_shape, len(law.batch_shape) + len(law.event_shape)
    if leaves[i].ndim < rank or leaves[i].shape[: len(batch)] != batch:
        return False
    m = 3 if batch[:1] == (2,) else 2
    copied = [np.broadcast_to(leaf, (m, *leaf.shape)) if j == i else leaf for j, leaf in enumerate(leaves)]
    try:
        return bool(tree.unflatten(q, copied).log_prob(z[:1]).shape == (m, *q.batch_shape))
    except ValueError:
        return False


_NAMED = {"none": none, "leave_one_out": leave_one_out, "optimal": optimal}


def check_baseline(baseline: Any, q: Distribution, n_samples: int) -> None:
    """Refuse a baseline that could depend on the draws, or that needs more of them."""
    if isinstance(baseline, str):
        if baseline not in _NAMED:
            raise ValueError(f"baseline is {baseline!r}; expected {_named()}, or numbers known before the draw")
        if baseline != "none" and n_samples < 2:
            raise ValueError(f"baseline={baseline!r} needs n_samples of at least 2: there is no other sample")
        return
    if not (hasattr(baseline, "shape") or isinstance(baseline, Real)):
        raise TypeError(
            f"baseline is {type(baseline).__name__}; expected {_named()}, or an array of numbers known before the "
            "draw, such as RunningMean().mean"
        )
    shape = getattr(baseline, "shape", ())
    if shape not in {(), q.batch_shape}:
        raise ValueError(
            f"baseline has shape {shape}; expected one number for each law of q, {q.batch_shape}, or (): a number for "
            "each draw would be known only after the draw, and bias the gradient"
        )
    if not bool(np.isfinite(baseline).all()):
        raise ValueError("baseline is infinite or NaN somewhere; expected finite numbers, of past values for example")


def _named() -> str:
    return ", ".join(f'"{name}"' for name in _NAMED)


@dataclass(frozen=True, eq=False)
class RunningMean:
    """The mean of past values, the recent counting more: a baseline that costs nothing and needs no second draw.

    b_t = Σ_{s<t} β^{t−1−s} r_s / Σ_{s<t} β^{t−1−s}, and 0 before the first. What is averaged must be past: give
    `past.mean` to a step, and that step's value to `update` afterwards. The object does not change: it returns another.

    >>> past = RunningMean()
    >>> for value in [4.0, 2.0]:  # of two steps, in which past.mean was the baseline
    ...     past = past.update(value)
    >>> round(past.mean, 4)
    2.9474

    (Mnih and Gregor, arXiv:1402.0030, §2.3.)
    """

    total: Array = 0.0
    weight: float = 0.0
    decay: float = tree.static(default=0.9)

    @property
    def mean(self) -> Array:
        """b, of the shape of the values."""
        return self.total / self.weight if self.weight else self.total

    def update(self, value: Array) -> RunningMean:
        """Return the running mean that includes `value`, for the steps to come."""
        return RunningMean(self.decay * self.total + stop_gradient(value), self.decay * self.weight + 1.0, self.decay)
