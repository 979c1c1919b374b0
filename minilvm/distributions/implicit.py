"""Implicit reparameterisation: a draw that moves with the parameters, though nobody can write down z = g(ε; φ).

A draw is z = F⁻¹(ε; φ), for a uniform ε that is free of φ (N13). Where F⁻¹ has no derivative that one would compute,
F(z; φ) = ε says it too: as φ moves, z moves so that F stays where it is,

    0 = dε = ∂F/∂φ dφ + p(z; φ) dz,      so      dz/dφ = −(∂F/∂φ) / p(z; φ)

and it does not matter how z was drawn. (Figurnov, Mohamed and Mnih, arXiv:1805.08498, eq. 5.)
"""

from __future__ import annotations

from collections.abc import Callable

from minilvm.backend import Array
from minilvm.distributions.parameters import to_shape
from minilvm.rules import primitive
from minilvm.tape import Tensor

Slope = Callable[..., Array]


def _rule(g: Array, i: int, draw: Array, slopes: tuple[Slope, ...], parameters: tuple[Array, ...]) -> Array:
    if any(type(parameter) is Tensor for parameter in parameters):
        raise TypeError(
            "a draw by implicit reparameterisation has no second derivative in its parameters: differentiate it once, "
            "or pass stop_gradient of what is constant in one of the two derivatives"
        )
    return to_shape(g * slopes[i](draw, *parameters), parameters[i].shape)


@primitive(parameters=_rule)
def implicit(draw: Array, slopes: tuple[Slope, ...], *parameters: Array) -> Array:
    """Return `draw`, as the function of its parameters with derivatives ∂z/∂φ_i = `slopes[i](z, *parameters)`.

    `draw` has the shape that the parameters broadcast to, after axes of its own. It can be differentiated once.

    Raises
    ------
    TypeError
        The derivative is itself differentiated with respect to the parameters.

    Examples
    --------
    >>> import numpy
    >>> from minilvm.autograd import grad
    >>> z = numpy.array([0.5, 2.0])  # z = ε / λ, an exponential law: F(z; λ) = 1 − exp(−λ z), dz/dλ = −z / λ
    >>> grad(lambda rate: implicit(z, (lambda z, rate: -z / rate,), rate).sum())(numpy.array([1.0, 4.0]))
    array([-0.5, -0.5])
    """
    del slopes, parameters
    return draw
