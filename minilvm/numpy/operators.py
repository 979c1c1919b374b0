"""What makes a `Tensor` an array: operators, methods, and NumPy's two protocols, all attached here.

`a + b` calls `add`, `x.sum()` calls `sum`, and `np.exp(x)` from plain NumPy arrives at `exp` by `__array_ufunc__`
(NEP 13) and `__array_function__` (NEP 18). What has no rule raises by name: a gradient is never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NoReturn

import numpy

import minilvm.numpy.elementwise as e
import minilvm.numpy.products as p
import minilvm.numpy.reductions as r
import minilvm.numpy.shaping as s
from minilvm.backend import Array
from minilvm.rules import HANDLERS
from minilvm.tape import Tensor, stop_gradient


def _reversed(f: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda b, a: f(a, b)


def _iterate(x: Array) -> Iterator[Array]:
    return (x[i] for i in range(len(x)))


def _length(x: Tensor) -> int:
    return len(x.value)


def _shape_method(f: Callable[..., Array]) -> Callable[..., Array]:
    """A method that takes its tuple of integers either whole or spread out, as NumPy's do: x.reshape(2, 3)."""
    return lambda x, *args: f(
        x, *(args if len(args) == 1 and not isinstance(args[0], int) else (args,) if args else ())
    )


def _array_ufunc(_: Tensor, ufunc: Any, method: str, *args: Any, **options: Any) -> Array:
    handler = HANDLERS.get(ufunc)
    if handler is None or method != "__call__" or options:
        call = ufunc.__name__ + ("" if method == "__call__" else f".{method}")
        detail = f" with {', '.join(options)}" if handler is not None and options else ""
        raise TypeError(f"numpy.{call}{detail} has no rule for traced Tensors; {_ALTERNATIVES}")
    return handler(*args)


def _array_function(_: Tensor, f: Any, __: Any, args: Any, options: Any) -> Array:
    handler = HANDLERS.get(f)
    if handler is None:
        raise TypeError(f"{f.__module__}.{f.__name__} has no rule for traced Tensors; {_ALTERNATIVES}")
    return handler(*args, **options)


_ALTERNATIVES = (
    "compose it from the functions in minilvm.numpy, give it a rule with minilvm.autograd.primitive, "
    "or pass stop_gradient(x) where x is a constant"
)


def _no_assignment(*_: Any) -> NoReturn:
    raise TypeError(
        "a traced Tensor cannot be assigned to in place; build the result from parts with np.where, np.concatenate "
        "or np.stack, or add with x + np.scatter_add(values, index, x.shape)"
    )


def _no_number(x: Tensor) -> NoReturn:
    raise TypeError(
        f"{x!r} is traced: as a Python number or plain array it would lose its gradient. "
        "Use stop_gradient(x) where that is meant, or return it with has_aux=True"
    )


def _repr(x: Tensor) -> str:
    return f"Tensor({stop_gradient(x)!r})"


_OPERATORS = {
    "add": e.add,
    "sub": e.subtract,
    "mul": e.multiply,
    "truediv": e.divide,
    "floordiv": e.floor_divide,
    "pow": e.power,
    "matmul": p.matmul,
}
_METHODS: dict[str, Any] = {
    "__neg__": e.negative,
    "__pos__": e.positive,
    "__abs__": e.absolute,
    "__lt__": e.less,
    "__le__": e.less_equal,
    "__gt__": e.greater,
    "__ge__": e.greater_equal,
    "__eq__": e.equal,
    "__ne__": e.not_equal,
    "__hash__": None,
    "__getitem__": s.getitem,
    "__setitem__": _no_assignment,
    "__iter__": _iterate,
    "__len__": _length,
    "__bool__": lambda x: bool(stop_gradient(x)),
    "__float__": _no_number,
    "__int__": _no_number,
    "__complex__": _no_number,
    "__array__": lambda x, *_, **__: _no_number(x),
    "item": _no_number,
    "tolist": _no_number,
    "__repr__": _repr,
    "__array_ufunc__": _array_ufunc,
    "__array_function__": _array_function,
    "shape": property(lambda x: x.value.shape),
    "ndim": property(lambda x: x.value.ndim),
    "size": property(lambda x: x.value.size),
    "dtype": property(lambda x: x.value.dtype),
    "T": property(s.transpose),
    "mT": property(lambda x: s.swapaxes(x, -1, -2)),
    "astype": e.astype,
    "clip": e.clip,
    "sum": r.sum,
    "mean": r.mean,
    "var": r.var,
    "std": r.std,
    "max": r.max,
    "min": r.min,
    "prod": r.prod,
    "cumsum": r.cumsum,
    "argmax": r.argmax,
    "argmin": r.argmin,
    "all": r.all,
    "any": r.any,
    "reshape": _shape_method(s.reshape),
    "transpose": _shape_method(s.transpose),
    "ravel": s.ravel,
    "flatten": s.ravel,
    "squeeze": s.squeeze,
    "swapaxes": s.swapaxes,
    "take": s.take,
    "repeat": s.repeat,
    "argsort": s.argsort,
    "diagonal": s.diagonal,
    "trace": s.trace,
    "dot": p.dot,
}

for _name, _f in _OPERATORS.items():
    setattr(Tensor, f"__{_name}__", _f)
    setattr(Tensor, f"__r{_name}__", _reversed(_f))
for _name, _f in _METHODS.items():
    setattr(Tensor, _name, _f)


def register(names: dict[str, Any], *submodules: ModuleType) -> None:
    """Let NumPy's functions, given a Tensor, find ours of the same name."""
    for home, ours in [
        (numpy, names),
        *((getattr(numpy, m.__name__.rpartition(".")[2], None), vars(m)) for m in submodules),
    ]:
        for name, f in ours.items():
            theirs = getattr(home, name, None)
            if callable(f) and callable(theirs) and not isinstance(theirs, type):
                HANDLERS[theirs] = f
