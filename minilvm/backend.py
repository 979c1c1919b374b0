"""Which array library: NumPy, or CuPy on a GPU. The only file that names CuPy.

Two questions, two answers. *Where do new arrays go?* To the active backend, chosen by `use`, `using` or the environment
variable `MINILVM_BACKEND`. *Where does a computation run?* Where its data are: NumPy's own functions hand an array of
another library over to that library (NEP 13 and NEP 18), and `namespace` answers where a new array is to go with them.

>>> import numpy
>>> namespace(numpy.ones(3)) is numpy
True
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, TypeAlias

import numpy

__all__ = [
    "Array",
    "active",
    "asarray",
    "default_rng",
    "info",
    "is_available",
    "namespace",
    "scipy_namespace",
    "to_numpy",
    "use",
    "using",
]

# glibc hands a freed block above some size back to the system; to fault the next one in, page by page, takes a fifth of
# a training step. That size rises to the largest block it has seen freed, up to 32 MB: show it one.
numpy.empty(2**25 - 2**13, dtype=numpy.uint8)

Array: TypeAlias = Any  # a NumPy array, a CuPy array, or a traced Tensor of either
Generator: TypeAlias = Any  # numpy.random.Generator or cupy.random.Generator


class BackendError(RuntimeError):
    """A backend that cannot be used here; the message says why, and what would make it usable."""


@dataclass(frozen=True)
class Backend:
    """An array library: the module of its arrays, and the module that is its SciPy."""

    name: str
    scipy: str

    @functools.cached_property
    def module(self) -> ModuleType:
        return importlib.import_module(self.name)


BACKENDS: Final = {"numpy": Backend("numpy", "scipy"), "cupy": Backend("cupy", "cupyx.scipy")}
_INSTALL: Final = 'python -m pip install "minilvm[cuda12]"   (or [cuda13], to match the CUDA version of the driver)'
_active: contextvars.ContextVar[str | None] = contextvars.ContextVar("minilvm_backend", default=None)
drawing: contextvars.ContextVar[Any] = contextvars.ContextVar("minilvm_drawing", default=None)  # minilvm.autograd.jit


def active() -> str:
    """Return the name of the backend that new arrays are made on.

    >>> with using("numpy"):
    ...     active()
    'numpy'
    """
    chosen = _active.get()
    if chosen is None:
        chosen = os.environ.get("MINILVM_BACKEND", "numpy")
        use(chosen)
    return chosen


def use(name: str) -> None:
    """Make `name` ("numpy" or "cupy") the backend of new arrays, in this thread and context.

    Raises
    ------
    ValueError
        `name` is not a backend.
    BackendError
        CuPy was asked for and is not installed, or finds no GPU; the message says which.
    """
    _require(name)
    _active.set(name)


@contextlib.contextmanager
def using(name: str) -> Iterator[None]:
    """Make `name` the backend of new arrays inside a `with` block.

    >>> with using("numpy"):
    ...     type(asarray([1.0])).__module__
    'numpy'
    """
    _require(name)
    token = _active.set(name)
    try:
        yield
    finally:
        _active.reset(token)


def is_available(name: str) -> bool:
    """Whether `use(name)` would succeed on this machine.

    >>> is_available("numpy")
    True
    """
    try:
        _require(name)
    except BackendError:
        return False
    return True


def info() -> dict[str, str]:
    """Describe the active backend: its name, version and device.

    >>> with using("numpy"):
    ...     info()["device"]
    'cpu'
    """
    name = active()
    module = BACKENDS[name].module
    device = "cpu"
    if hasattr(module, "cuda"):
        properties = module.cuda.runtime.getDeviceProperties(module.cuda.runtime.getDevice())
        device = f"cuda: {properties['name'].decode()}"
    return {"name": name, "version": module.__version__, "device": device}


def namespace(*arrays: Array) -> ModuleType:
    """Return the module whose functions make and take arrays like these: compute follows the data.

    Python and NumPy scalars go with either library; a traced `Tensor` answers for its value. Without an array among
    the arguments a NumPy scalar speaks for NumPy, and else the active backend answers.

    Raises
    ------
    TypeError
        The arrays belong to different libraries; the message names both.
    """
    if {*map(type, arrays)} == _PLAIN or {type(_value(x)) for x in arrays} == _PLAIN:  # the commonest case
        return numpy
    found = {backend.name: backend for backend in map(_backend_of, arrays) if backend is not None}
    if len(found) > 1:
        raise TypeError(f"arrays of {' and '.join(sorted(found))} in one operation; {_MOVE}")
    if found:
        return next(iter(found.values())).module
    return numpy if any(map(is_scalar, arrays)) else BACKENDS[active()].module


def scipy_namespace(submodule: str, *arrays: Array) -> ModuleType:
    """Return the SciPy module for these arrays: `scipy.<submodule>`, or CuPy's counterpart.

    >>> scipy_namespace("special", numpy.ones(2)).__name__
    'scipy.special'
    """
    return importlib.import_module(f"{BACKENDS[namespace(*arrays).__name__].scipy}.{submodule}")


def asarray(x: Any, dtype: Any = None) -> Array:
    """Return `x` as an array of the active backend, copying between devices if need be.

    >>> with using("numpy"):
    ...     asarray([1.0, 2.0])
    array([1., 2.])
    """
    module = BACKENDS[active()].module
    return module.asarray(to_numpy(x) if module is numpy else x, dtype=dtype)


def to_numpy(x: Any) -> Any:
    """Return `x` as a NumPy array, copied from the GPU if it is there.

    Raises
    ------
    TypeError
        `x` is traced: NumPy could not carry its gradient on. Use `stop_gradient(x)` first where that is meant.
    """
    on_device = _backend_of(x) not in {None, BACKENDS["numpy"]} and not _is_traced(x)
    return x.get() if on_device else numpy.asarray(x)


def default_rng(seed: Any, like: Array = None) -> Generator:
    """Return a random generator of the active backend, or of the library that `like` belongs to.

    `seed` is an integer (0 is a seed like any other), or a generator, which is returned as it is, or None, for a seed
    from the operating system.

    >>> bool(default_rng(0).random() == default_rng(0).random())
    True
    """
    given = drawing.get()
    return namespace(like).random.default_rng(seed) if given is None else given(seed)


@functools.cache
def random_module(kind: Hashable) -> Any:
    """Return the module `random` whose generators are of this type, or None."""
    loaded = [backend.module for backend in BACKENDS.values() if backend.name in sys.modules]
    return next((module.random for module in loaded if kind is module.random.Generator), None)


def describe_devices(*arrays: Array) -> str | None:
    """Say which libraries' arrays are mixed among `arrays`, or None if they all belong to one."""
    names = sorted({backend.name for backend in map(_backend_of, arrays) if backend is not None})
    return f"arrays of {' and '.join(names)} in one operation; {_MOVE}" if len(names) > 1 else None


_PLAIN: Final = {numpy.ndarray}
_MOVE: Final = "move one with backend.asarray or backend.to_numpy"


def _is_traced(x: Any) -> bool:
    return hasattr(type(x), "tape")


def _value(x: Any) -> Any:
    while _is_traced(x):
        x = x.value
    return x


def is_scalar(x: Any) -> bool:
    """Whether `x` is one of NumPy's numbers, traced or not."""
    return isinstance(_value(x), numpy.generic)


def _backend_of(x: Any) -> Backend | None:
    """The library that `x` is an array of; None for scalars, which go with any."""
    x = _value(x)
    if isinstance(x, numpy.ndarray):
        return BACKENDS["numpy"]
    return BACKENDS.get(type(x).__module__.partition(".")[0]) if hasattr(x, "get") and hasattr(x, "shape") else None


def _require(name: str) -> None:
    if name not in BACKENDS:
        raise ValueError(f"no backend {name!r}; choose one of {', '.join(map(repr, BACKENDS))}")
    if name != "cupy":
        return
    if importlib.util.find_spec("cupy") is None:
        raise BackendError(f"CuPy is not installed. Install it with\n    {_INSTALL}")
    cupy = importlib.import_module("cupy")
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendError(
            f"CuPy is installed, but finds no GPU ({error}). Check `nvidia-smi`; if a GPU is there, CuPy was "
            f"built for another CUDA version:\n    {_INSTALL}"
        ) from error
    if devices == 0:
        raise BackendError("CuPy is installed, but this machine shows it no GPU: check `nvidia-smi`.")
