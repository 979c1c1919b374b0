"""Networks as dataclasses of arrays: callable, frozen, and mapped over like any other tree."""

from minilvm.nn.initialisers import glorot_uniform
from minilvm.nn.linear import MLP, Linear, linear

__all__ = ["MLP", "Linear", "glorot_uniform", "linear"]
