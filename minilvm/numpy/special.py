"""Special functions by SciPy's names: log-odds, the gamma function, the normal distribution, products with logarithms.

Values come from SciPy (CuPy's copy of it, for its arrays), which is imported when first called. `softplus`, `expit` and
`log_expit`, where models of binary data spend their time, are built from NumPy's functions instead, three to
fifteen times faster. Rules are in the form that keeps its digits in the tails, where both f and f′ underflow.

Every function keeps the precision of its argument: float32 in, float32 out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Final

import numpy

from minilvm.backend import Array, scipy_namespace
from minilvm.numpy.reductions import log_softmax, logsumexp, softmax
from minilvm.rules import elementwise, primitive, recorder
from minilvm.tape import Tensor

__all__ = [
    "betaln",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfinv",
    "expit",
    "gammaln",
    "i0e",
    "i1e",
    "log_expit",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "ndtr",
    "polygamma",
    "softmax",
    "softplus",
    "xlog1py",
    "xlogy",
]


def _elementwise(**vjps: Callable[..., Array]) -> Callable[[Any], Callable[..., Array]]:
    """Give a function of one array, or of two that broadcast, its rules: the tape then takes it for a ufunc."""

    def decorate(f: Callable[..., Array]) -> Callable[..., Array]:
        def ufunc(*args: Array) -> Array:  # sends the Tensors of an outer tape round again, as NumPy's protocol would
            if any(type(a) is Tensor for a in args):
                return apply(*args)
            record = recorder.get()
            return f(*args) if record is None else record(f, args, {})

        ufunc.nin = len(vjps)  # type: ignore[attr-defined]  # as NumPy's ufuncs say it
        apply = functools.update_wrapper(elementwise(ufunc, **vjps), f)
        return apply

    return decorate


def _scipy(name: str, *args: Array) -> Array:
    return getattr(scipy_namespace("special", *args), name)(*args)


def _scipy_of_several(name: str, *args: Array) -> Array:
    """SciPy takes the number 2.0 beside a float32 array for a float64: say which precision is meant."""
    return getattr(scipy_namespace("special", *args), name)(*args, dtype=numpy.result_type(*args, 0.0))


# Log-odds -------------------------------------------------------------------------------------------------------------


@_elementwise(x=lambda g, x: g * expit(x))
def softplus(x: Array) -> Array:
    """Return log(1 + exp(x)) = max(x, 0) + log(1 + exp(−|x|)), which neither overflows nor loses a small value.

    >>> softplus(numpy.array([-1e4, 0.0, 1e4]))
    array([0.00000000e+00, 6.93147181e-01, 1.00000000e+04])
    """
    return numpy.log1p(numpy.exp(-numpy.abs(x))) + numpy.maximum(x, 0)


@_elementwise(x=lambda g, x: g * expit(-x))
def log_expit(x: Array) -> Array:
    """Return log expit(x) = −softplus(−x), the logarithm of a probability given by its log-odds.

    >>> log_expit(numpy.array([-1e4, 0.0, 1e4]))
    array([-1.00000000e+04, -6.93147181e-01,  0.00000000e+00])
    """
    return -numpy.log1p(numpy.exp(-numpy.abs(x))) + numpy.minimum(x, 0)


@_elementwise(x=lambda g, y, x: g * (y * expit(-x)))
def expit(x: Array) -> Array:
    """Return 1 / (1 + exp(−x)), the probability whose log-odds are `x`.

    Good to two units in the last place, in both tails, down to the smallest normal number (below it, 0). The form with
    tanh takes as long in float64, half as long in float32, and leaves nothing of the left tail: 0.0 at x = −40.

    >>> expit(numpy.array([-800.0, 0.0, 40.0]))
    array([0. , 0.5, 1. ])
    """
    with numpy.errstate(over="ignore"):  # exp(−x) = ∞ is right here: 1 / ∞ = 0
        return 1.0 / (1.0 + numpy.exp(-x))


@_elementwise(x=lambda g, x: g / (x * (1.0 - x)))
def logit(x: Array) -> Array:
    """Return log(x / (1 − x)), the log-odds of a probability; ∓∞ at 0 and 1, where its slope is ∞."""
    return _scipy("logit", x)


# The gamma function ---------------------------------------------------------------------------------------------------


@_elementwise(x=lambda g, x: g * digamma(x))
def gammaln(x: Array) -> Array:
    """Return log |Γ(x)|, where Γ(n) = (n − 1)!."""
    return _scipy("gammaln", x)


def _digamma_rule(g: Array, x: Array) -> Array:
    return g * polygamma(1, x)


@_elementwise(x=_digamma_rule)
def digamma(x: Array) -> Array:
    """Return ψ(x) = d/dx log Γ(x)."""
    return _scipy("digamma", x)


def _polygamma_rule(g: Array, n: int, x: Array) -> Array:
    return g * polygamma(n + 1, x)


@primitive(x=_polygamma_rule)
def polygamma(n: int, x: Array) -> Array:
    """Return the n-th derivative of `digamma`, ψ⁽ⁿ⁾(x) = (−1)ⁿ⁺¹ n! Σ_k (x + k)⁻ⁿ⁻¹ over k = 0, 1, …; `n` is a number.

    >>> round(float(polygamma(1, 1.0)), 12) == round(math.pi**2 / 6, 12)
    True
    """
    if n == 0:
        return digamma(x)
    # SciPy's own polygamma makes float64 of float32. The sum is Hurwitz's zeta function.
    zeta = _zeta(n + 1, x) if numpy.all(numpy.greater(x, 0.0)) else _scipy("zeta", n + 1.0, x)
    return (-1.0) ** (n + 1) * math.factorial(n) * zeta


BERNOULLI: Final = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)  # B_2, B_4, …


def _zeta(s: int, x: Array) -> Array:
    """Σ_k (x + k)⁻ˢ for x > 0: ten terms as they are, the rest by Euler and Maclaurin. SciPy takes 20 times as long.

    Σ_k (z + k)⁻ˢ = z¹⁻ˢ (1/(s − 1) + 1/2z + Σ_j B_2j/(2j)! s (s + 1) … (s + 2j − 2) z⁻²ʲ), with z = x + 10.
    """
    total = 0.0
    with numpy.errstate(over="ignore"):  # the first term of a tiny x may be +inf
        for _ in range(10):
            total, x = total + math.prod([1.0 / x] * s), x + 1.0
    r = 1.0 / x
    series = 0.0
    for j in range(len(BERNOULLI), 0, -1):
        rising = math.factorial(s + 2 * j - 2) // math.factorial(s - 1)
        series = (series + BERNOULLI[j - 1] * rising / math.factorial(2 * j)) * (r * r)
    return total + math.prod([r] * (s - 1)) * (series + 0.5 * r + 1.0 / (s - 1))


@_elementwise(
    a=lambda g, a, b: g * (digamma(a) - digamma(a + b)),
    b=lambda g, a, b: g * (digamma(b) - digamma(a + b)),
)
def betaln(a: Array, b: Array) -> Array:
    """Return log B(a, b) = log Γ(a) + log Γ(b) − log Γ(a + b), without the cancellation, for positive a and b."""
    return _scipy_of_several("betaln", a, b)


# The normal distribution ----------------------------------------------------------------------------------------------


@_elementwise(x=lambda g, x: g * (2.0 / math.sqrt(math.pi)) * numpy.exp(-x * x))
def erf(x: Array) -> Array:
    """Return 2/√π ∫ exp(−t²) dt from 0 to x."""
    return _scipy("erf", x)


@_elementwise(x=lambda g, x: g * (-2.0 / math.sqrt(math.pi)) * numpy.exp(-x * x))
def erfc(x: Array) -> Array:
    """Return 1 − erf(x), to full precision where it is small."""
    return _scipy("erfc", x)


@_elementwise(x=lambda g, y: g * (0.5 * math.sqrt(math.pi)) * numpy.exp(y * y))
def erfinv(x: Array) -> Array:
    """Return the y for which erf(y) = x; ∓∞ at −1 and 1, where its slope is ∞."""
    return _scipy("erfinv", x)


@_elementwise(x=lambda g, x: g * math.sqrt(0.5 / math.pi) * numpy.exp(-0.5 * x * x))
def ndtr(x: Array) -> Array:
    """Return Φ(x), the probability that a standard normal variable is below x."""
    return _scipy("ndtr", x)


@_elementwise(x=lambda g, x: g * _hazard(x))
def log_ndtr(x: Array) -> Array:
    """Return log Φ(x), finite where Φ(x) underflows: about −x²/2 − log(−x) − log √(2π) far to the left.

    The gradient φ(x)/Φ(x) has full precision there too. The second derivative loses to cancellation about
    x² units in the last place.
    """
    return _scipy("log_ndtr", x)


@_elementwise(x=lambda g, y, x: -g * numpy.clip(y * (x + y), 0.0, 1.0))  # the bounds hold whatever cancels in x + y
def _hazard(x: Array) -> Array:
    """φ(x) / Φ(x) = √(2/π) / erfcx(−x/√2), where erfcx(t) = exp(t²) erfc(t) falls off only as 1 / (t √π)."""
    return math.sqrt(2.0 / math.pi) / _scipy("erfcx", -math.sqrt(0.5) * x)


# Products with logarithms ---------------------------------------------------------------------------------------------


def _off_the_pole(a: Array, b: Array, pole: float) -> tuple[Array, Array]:
    """The factor and the logarithm's argument; where that is at its pole and the factor is 0, constants 0 and log⁻¹(0).

    However the limit of 0 · ∞ is taken, this gives the product the value 0 and slopes 0 there.
    """
    nothing = numpy.logical_and(numpy.equal(a, 0.0), numpy.equal(b, pole))
    return numpy.where(nothing, 0.0, a), numpy.where(nothing, pole + 1.0, b)


def _slope(a: Array, b: Array, pole: float) -> Array:
    a, b = _off_the_pole(a, b, pole)
    return a / (b - pole)


@_elementwise(a=lambda g, a, b: g * numpy.log(_off_the_pole(a, b, 0.0)[1]), b=lambda g, a, b: g * _slope(a, b, 0.0))
def xlogy(a: Array, b: Array) -> Array:
    """Return a log(b), and 0 where both are 0, with gradient 0 there.

    >>> xlogy(numpy.array([0.0, 2.0]), numpy.array([0.0, 1.0]))
    array([0., 0.])
    """
    return _scipy_of_several("xlogy", a, b)


@_elementwise(a=lambda g, a, b: g * numpy.log1p(_off_the_pole(a, b, -1.0)[1]), b=lambda g, a, b: g * _slope(a, b, -1.0))
def xlog1py(a: Array, b: Array) -> Array:
    """Return a log(1 + b), to full precision where `b` is small; 0 where a = 0 and b = −1, with gradient 0 there."""
    return _scipy_of_several("xlog1py", a, b)


@_elementwise(x=lambda g, x: -g * (numpy.log(x) + 1.0))
def entr(x: Array) -> Array:
    """Return −x log(x), the term of an entropy; 0 at 0, where its slope is ∞, and −∞ below."""
    return _scipy("entr", x)


# Bessel functions -----------------------------------------------------------------------------------------------------


@_elementwise(x=lambda g, y, x: g * (i1e(x) - numpy.sign(x) * y))
def i0e(x: Array) -> Array:
    """Return exp(−|x|) I₀(x), the modified Bessel function of order 0, scaled so that it does not overflow."""
    return _scipy("i0e", x)


def _i1e_rule(g: Array, y: Array, x: Array) -> Array:
    """I₁′ = I₀ − I₁ / x, where the last term tends to ½ at 0."""
    zero = numpy.equal(x, 0.0)
    return g * (i0e(x) - numpy.where(zero, 0.5, y / numpy.where(zero, 1.0, x)) - numpy.sign(x) * y)


@_elementwise(x=_i1e_rule)
def i1e(x: Array) -> Array:
    """Return exp(−|x|) I₁(x), the modified Bessel function of order 1, scaled so that it does not overflow."""
    return _scipy("i1e", x)
