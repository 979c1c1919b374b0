"""Differentiation: transforms of functions, over the tape in `minilvm.tape` and the rules in `minilvm.numpy`."""

import minilvm.numpy  # noqa: F401  (attaches operators and methods to Tensor)
from minilvm.autograd.check import check_grads
from minilvm.autograd.checkpointing import checkpoint
from minilvm.autograd.inspection import detect_anomaly, trace
from minilvm.autograd.replay import jit
from minilvm.autograd.transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from minilvm.rules import primitive
from minilvm.tape import Tensor, stop_gradient

__all__ = [
    "Tensor",
    "check_grads",
    "checkpoint",
    "detect_anomaly",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jit",
    "jvp",
    "primitive",
    "stop_gradient",
    "trace",
    "value_and_grad",
    "vjp",
]
