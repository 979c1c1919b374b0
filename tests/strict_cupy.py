"""A stand-in for CuPy, made of NumPy: as strict as the real one, and it needs no GPU.

Code that runs on it will run on CuPy, because it keeps CuPy's rules (read off CuPy 14's sources and behaviour):

- an array never becomes a NumPy array by itself: `numpy.asarray(x)` raises, `x.get()` copies;
- a reduction gives an array of shape (), never a number; `float(x)`, `bool(x)` and `x.item()` fetch one;
- a NumPy array is no operand (Python's and NumPy's numbers are; an index or a list to convert may be one);
- only the names that CuPy has exist, with the parameters that CuPy gives them: `cupy_api.txt` is the list.

It differs where NumPy is the stricter of the two: broadcast views are read-only, indices out of bounds raise.
The module is the array namespace, as `cupy` is; `strict_cupy.scipy` stands for `cupyx.scipy`.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy
from numpy.lib.mixins import NDArrayOperatorsMixin

__version__ = "14.2.0"  # of the CuPy that cupy_api.txt was read from

_TO_DEVICE = {"array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray"}  # these take NumPy arrays
_FROM_NOTHING = {"arange", "empty", "eye", "full", "identity", "linspace", "logspace", "ones", "tri", "zeros"}
_FROM_NOTHING |= {"broadcast_shapes", "can_cast", "diag_indices", "indices", "isdtype", "isscalar", "issubdtype"}
_FROM_NOTHING |= {"ndim", "result_type", "shape", "tril_indices", "triu_indices"}
_SCATTERS = {"add", "subtract", "maximum", "minimum"}  # the ufuncs that have `at`


def _read_api() -> dict[str, str]:
    """The names that CuPy has, with how each is called: "ufunc", "(a, axis=)", or "" for what is not called."""
    lines = Path(__file__).with_name("cupy_api.txt").read_text(encoding="utf-8").splitlines()
    entries = (re.fullmatch(r"([\w.]+)(.*)", line) for line in lines if not line.startswith("#"))
    return {entry[1]: entry[2].strip() for entry in entries if entry is not None}


API = _read_api()


class ndarray(NDArrayOperatorsMixin):  # noqa: N801  (CuPy's name)
    """An array "on the device": a NumPy array that does not let itself be taken for one."""

    __slots__ = ("_host",)
    __hash__ = None
    __array_priority__ = 100

    def __init__(self, host: numpy.ndarray) -> None:
        self._host = host

    def get(self) -> numpy.ndarray:
        return self._host.copy()

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, f, method, *args, **options):
        ours = getattr(sys.modules[__name__], f.__name__, None)
        if method != "__call__" or ours is None or not all(map(_is_operand, args)):
            return NotImplemented
        if "out" in options:
            (options["out"],) = options["out"]
        return ours(*args, **options)

    def __array_function__(self, f, kinds, args, options):
        try:
            home = functools.reduce(getattr, f.__module__.split(".")[1:], sys.modules[__name__])
            ours = getattr(home, f.__name__)
        except AttributeError:
            return NotImplemented
        if not set(kinds) <= {ndarray, numpy.ndarray}:
            return NotImplemented
        return ours(*args, **options)

    def __getitem__(self, index):
        return _wrapped(self._host[_unwrapped(index, host_arrays=True)])

    def __setitem__(self, index, value):
        self._host[_unwrapped(index, host_arrays=True)] = _unwrapped(value)

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        return bool(self._host)

    def __float__(self):
        return float(self._host)

    def __int__(self):
        return int(self._host)

    def __repr__(self):
        return repr(self._host)

    @property
    def flags(self):
        host = self._host.flags
        return types.SimpleNamespace(
            c_contiguous=host.c_contiguous, f_contiguous=host.f_contiguous, owndata=self._host.base is None
        )


def _is_operand(x: Any) -> bool:
    """Whether CuPy's ufuncs take `x`, if only to raise their own error for a NumPy array."""
    return isinstance(x, ndarray | numpy.ndarray | numpy.generic | bool | int | float | complex)


def _wrapped(x: Any) -> Any:
    """Put what NumPy computed "on the device": arrays and NumPy's scalars, and the members of tuples of them."""
    if isinstance(x, numpy.ndarray | numpy.generic):
        return ndarray(numpy.asarray(x))
    if isinstance(x, tuple | list):
        return list(map(_wrapped, x)) if isinstance(x, list) else tuple(map(_wrapped, x))
    return x


def _unwrapped(x: Any, *, host_arrays: bool = False) -> Any:
    if type(x) is ndarray:
        return x._host
    if isinstance(x, list | tuple):
        return type(x)(_unwrapped(part, host_arrays=host_arrays) for part in x)
    foreign = hasattr(type(x), "__array_ufunc__") and not isinstance(x, numpy.ndarray | numpy.generic)
    if foreign or (isinstance(x, numpy.ndarray) and not host_arrays):
        raise TypeError(f"Unsupported type {type(x)}")
    return x


def _holds_array(x: Any) -> bool:
    return any(map(_holds_array, x)) if isinstance(x, list | tuple) else type(x) is ndarray


def _call(f: Any, args: Any, options: dict[str, Any], **rules: Any) -> Any:
    """Call NumPy's or SciPy's function on the arrays that ours hold."""
    unwrapped = {name: _unwrapped(option, **rules) for name, option in options.items()}
    return f(*(_unwrapped(arg, **rules) for arg in args), **unwrapped)


def _binder(parameters: str) -> Any:
    """A function that does nothing, and refuses the arguments that these parameters, "(a, axis=)", refuse."""
    return eval("lambda " + re.sub(r"=(?=[,)])", "=None", parameters)[1:-1] + ": None")  # noqa: S307


class ufunc:  # noqa: N801  (CuPy's name)
    """A function of each element."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self.nin, self.nout, self.__name__ = host.nin, host.nout, host.__name__

    def __call__(self, *args, out=None, dtype=None, casting=None):
        options = {"out": out, "dtype": dtype, "casting": casting}
        result = _call(self._host, args, {name: given for name, given in options.items() if given is not None})
        return _wrapped(result) if out is None else out

    def at(self, a, indices, b=None):
        if self.__name__ not in _SCATTERS or a.dtype.name not in {"float16", "float32", "float64", "int32", "uint32"}:
            raise TypeError(f"{self.__name__}.at is not supported for {a.dtype}")
        self._host.at(a._host, _unwrapped(indices, host_arrays=True), _unwrapped(b))


def _function(name: str, host: Any, parameters: str) -> Any:
    """CuPy's function: NumPy's on wrapped arrays, with CuPy's parameters."""
    bind = _binder(parameters)
    short = name.rpartition(".")[2]

    @functools.wraps(host)
    def f(*args, **options):
        bind(*args, **options)
        if short not in _FROM_NOTHING | _TO_DEVICE and not _holds_array([*args, *options.values()]):
            raise TypeError(f"{name} needs an array of CuPy")
        if name == "cupy.where" and type(args[0]) is bool:
            raise AttributeError("'bool' object has no attribute 'astype'")
        return _wrapped(_call(host, args, options, host_arrays=short in _TO_DEVICE))

    return f


@functools.cache
def _looked_up(prefix: str, host: types.ModuleType, name: str) -> Any:
    """The object that CuPy's module `prefix` has by this name, made from `host`'s of the same name."""
    entry = API.get(f"{prefix}.{name}")
    if entry is None or not hasattr(host, name):
        raise AttributeError(f"CuPy {__version__} has no {prefix}.{name}")
    theirs = getattr(host, name)
    if entry == "ufunc":
        return ufunc(theirs) if isinstance(theirs, numpy.ufunc) else _function(f"{prefix}.{name}", theirs, "(*args)")
    return _function(f"{prefix}.{name}", theirs, entry) if entry else theirs


def __getattr__(name: str) -> Any:
    return _looked_up("cupy", numpy, name)


class _Submodule(types.ModuleType):
    def __init__(self, name: str, theirs: str, host: str) -> None:
        super().__init__(name)
        self._theirs, self._host_name = theirs, host

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _looked_up(self._theirs, importlib.import_module(self._host_name), name)


class Generator:
    """Random numbers "on the device": the methods of `cupy.random.Generator`, and no others."""

    def __init__(self, seed: Any) -> None:
        if isinstance(seed, numpy.random.Generator | ndarray):
            raise TypeError(f"SeedSequence expects int or sequence of ints for entropy not {seed!r}")
        self._host = numpy.random.default_rng(seed)

    def __getattr__(self, name: str) -> Any:
        parameters = API.get(f"cupy.random.Generator.{name}")
        if parameters is None:
            raise AttributeError(f"cupy.random.Generator has no attribute {name!r}")
        bind, host = _binder(parameters), getattr(self._host, name)

        def draw(*args, **options):
            bind(*args, **options)
            dtype = options.pop("dtype") if name in {"beta", "uniform"} and "dtype" in options else None
            result = _wrapped(numpy.asarray(_call(host, args, options)))
            return result if dtype is None else result.astype(dtype)

        return draw


def _default_rng(seed: Any = None) -> Generator:
    return seed if isinstance(seed, Generator) else Generator(seed)


def _method(name: str, parameters: str) -> Any:
    bind = _binder(parameters)
    takes_host_arrays = {"take"}

    def method(self, *args, **options):
        bind(*args, **options)
        return _wrapped(_call(getattr(self._host, name), args, options, host_arrays=name in takes_host_arrays))

    method.__name__ = name
    return method


for _name, _parameters in API.items():
    _short = _name.removeprefix("cupy.ndarray.")
    if _short != _name and hasattr(numpy.ndarray, _short) and not hasattr(ndarray, _short):
        if _parameters:
            setattr(ndarray, _short, _method(_short, _parameters))
        elif _short not in {"base", "data", "device", "flat"}:
            setattr(ndarray, _short, property(lambda self, _short=_short: _wrapped(getattr(self._host, _short))))

linalg = _Submodule("strict_cupy.linalg", "cupy.linalg", "numpy.linalg")
random = types.ModuleType("strict_cupy.random")
random.Generator, random.default_rng = Generator, _default_rng
scipy = types.ModuleType("strict_cupy.scipy")
scipy.special = _Submodule("strict_cupy.scipy.special", "cupyx.scipy.special", "scipy.special")
scipy.linalg = _Submodule("strict_cupy.scipy.linalg", "cupyx.scipy.linalg", "scipy.linalg")
for _module in (linalg, random, scipy, scipy.special, scipy.linalg):
    sys.modules[_module.__name__] = _module
