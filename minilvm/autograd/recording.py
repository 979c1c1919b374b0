"""What a function does, noted while it runs: every call with one of its arrays, and what is to become of the result.

In place of arrays the function is given `Recorded` ones: all that is done with them is done with their values, and is
noted as a `Step`. A tape holds Recorded values like any others, so the walk back over it is noted with the way there. A
primitive is one step, whatever it does inside, and so is a rule: what is noted are the calls that were to be made with
plain arrays, and so they give the same bits when they are made again.

Nothing that could change may be fixed unseen, so a Recorded array has no number, no truth value and no NumPy array to
give away, and is not written to. A draw is a step like others, of a generator that is an argument.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Iterator
from types import FrameType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import numpy

from minilvm import backend, tree
from minilvm.backend import Array
from minilvm.rules import HANDLERS, recorder
from minilvm.tape import Edge, Tensor, watching

__all__ = ["Recorded", "RecordedGenerator", "Recording", "alike", "is_array", "parts", "snapshot"]


class Recorded:
    """An array of a function that is being recorded: its value of now, and the name of what it will be."""

    __slots__ = ("name", "tape", "value")
    __hash__ = None  # type: ignore[assignment]  # as of arrays

    if TYPE_CHECKING:
        dtype: Any
        shape: tuple[int, ...]

    def __init__(self, value: Any, tape: Recording, name: str) -> None:
        self.value = value
        self.tape = tape
        self.name = name

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        _refuse("is no array of NumPy's: give it to functions of minilvm.numpy")

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **options: Any) -> Any:
        if Tensor in map(type, args):
            return NotImplemented
        if method == "at" or "out" in options:
            _refuse("is not written to, nor into another array: a + b makes a new one")
        return step(ufunc if method == "__call__" else getattr(ufunc, method), args, options)

    def __array_function__(self, f: Any, _: Any, args: Any, options: Any) -> Any:
        if Tensor in map(type, parts((args, options))):
            return NotImplemented
        if f in _STATIC:
            return f(*_each(_value, args), **options)
        if f not in HANDLERS or "out" in options:
            _refuse(f"is not taken by {f.__module__}.{f.__name__}: compose it from the functions in minilvm.numpy")
        return step(f, args, options)

    def __getitem__(self, index: Any) -> Any:
        if any(type(part) is Recorded and part.dtype == bool for part in parts(index)):
            _refuse("is no mask: how many elements it leaves depends on its numbers; use np.where")
        return step(operator.getitem, (self, index), {})

    def __getattr__(self, name: str) -> Any:
        if name in _METHODS:
            return functools.partial(_call, self, name)
        raise AttributeError(f"a recorded array has no {name!r}")

    @property
    def flags(self) -> Any:
        """Only what has no influence: results are seen to again when they are handed out."""
        return SimpleNamespace(owndata=self.value.flags.owndata)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"Recorded({self.dtype}{list(self.shape)})"


class RecordedGenerator:
    """Stands for a generator. A draw is a step that is never dropped: those after it depend on it."""

    def __init__(self, generator: Recorded) -> None:
        self.recorded = generator

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in _NO_DRAWS:
            raise AttributeError(
                f"{name!r} of a generator is not recorded; draw by random, integers, standard_normal, …"
            )
        return functools.partial(_call, self.recorded, name)


def _call(x: Recorded, name: str, *args: Any, **options: Any) -> Any:
    return step(method, (x, name, *args), options)


def method(x: Any, name: str, *args: Any, **options: Any) -> Any:
    """Call a method: as a function, it is a step like any other."""
    return getattr(x, name)(*args, **options)


class Step(NamedTuple):
    """A call with Recorded arrays among its arguments, the name of its result, and whether it has an effect besides."""

    name: str
    f: Callable[..., Any]
    args: tuple[Any, ...]
    options: dict[str, Any]
    effect: bool


class _InsideError(Exception):
    """A function that was to be one step met a Recorded array that is not among its arguments."""


class Recording:
    """The steps of one run of a function, and the tree that it returned."""

    def __init__(self, f: Callable[..., Any], inputs: Any) -> None:
        self.steps: list[Step] = []
        self.inside = self.closed = False
        self.errors = numpy.geterr()
        names = iter(range(len(tree.leaves(inputs))))
        args, kwargs = tree.map(lambda leaf: self._input(leaf, f"a{next(names)}"), inputs)
        try:
            with watching(lambda: _noting), _assigned(recorder, step), _assigned(backend.drawing, _given):
                self.result = f(*args, **kwargs)
        finally:
            self.closed = True

    def _input(self, leaf: Any, name: str) -> Any:
        """What the function is given in place of a leaf: what is no array or generator is a constant."""
        random = backend.random_module(leaf.__class__)
        if random is not None:  # another generator draws now: the caller's is left alone
            return RecordedGenerator(Recorded(random.default_rng(0), self, name))
        return Recorded(snapshot(leaf), self, name) if is_array(leaf) else leaf

    def take(self, f: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Call a function with the values, and note that it was called."""
        if self.closed:
            raise RuntimeError("a recorded array was used after the jitted function had returned: return it instead")
        if self.inside:
            raise _InsideError
        noted_args, noted_options = _each(snapshot, args), _each(snapshot, options)
        self.inside = True
        try:
            value = f(*_each(_value, args), **_each(_value, options))
        except _InsideError:
            value = _InsideError
        finally:
            self.inside = False
        if value is _InsideError:  # what it does is then noted call by call
            return f(*args, **options)
        if not all(map(alike, parts((args, options)), parts((noted_args, noted_options)))):
            _refuse("is not written into another array: a + b makes a new one")
        effect = value is None or (f is method and not is_array(args[0].value))
        return self._note(_guarded(f, args, value, self.errors), noted_args, noted_options, value, effect=effect)

    def _note(self, f: Callable[..., Any], args: Any, options: Any, value: Any, *, effect: bool) -> Any:
        result = Recorded(value, self, f"v{len(self.steps)}")
        self.steps.append(Step(result.name, f, args, options, effect))
        if isinstance(value, tuple | list):
            several = [
                self._note(operator.getitem, (result, i), {}, part, effect=False) for i, part in enumerate(value)
            ]
            return type(value)(*several) if hasattr(value, "_fields") else type(value)(several)
        return None if value is None else result


def step(f: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Call `f`: noted as one step if arrays among its arguments are recorded, and none is on a tape besides."""
    found = list(parts((args, options)))
    recorded = [part for part in found if type(part) is Recorded]
    if not recorded or Tensor in map(type, found):
        return f(*args, **options)
    if any(part.tape is not recorded[0].tape for part in recorded):
        raise RuntimeError("recorded arrays of two jitted functions met: one was kept after its function had returned")
    return recorded[0].tape.take(f, args, options)


def _noting(edges: tuple[Edge, ...], _: Array, __: FrameType) -> tuple[Edge, ...]:
    """The edges of an entry of a tape, with rules that are called as steps."""
    return tuple((functools.partial(_pull, pull), index, saved) for pull, index, saved in edges)


def _pull(pull: Callable[..., Any], *args: Any) -> Any:
    return step(pull, args, {})


def _given(seed: Any) -> Any:
    """What `backend.default_rng` returns in a function that is being recorded."""
    if type(seed) is RecordedGenerator:
        return seed
    raise TypeError(
        f"a jitted function draws from {seed!r:.60}, which is no generator among its arguments: the draw would be the "
        "same for ever. Pass rng=backend.default_rng(seed) to it"
    )


@contextlib.contextmanager
def _assigned(variable: Any, value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def _guarded(f: Callable[..., Any], args: tuple[Any, ...], value: Any, errors: Any) -> Callable[..., Any]:
    """`f` as it is to be called: under `numpy.errstate` if it is now, and held to a shape that indices may decide."""
    if numpy.geterr() != errors:
        f = functools.partial(_under, numpy.geterr(), f)
    kinds = {x.dtype.kind for x in parts(args) if type(x) is Recorded and hasattr(x, "dtype")}
    if kinds & {"b", "i", "u"} and hasattr(value, "shape") and not isinstance(f, numpy.ufunc):
        f = functools.partial(_of_shape, value.shape, f)
    return f


def _under(errors: Any, f: Callable[..., Any], *args: Any, **options: Any) -> Any:
    with numpy.errstate(**errors):
        return f(*args, **options)


def _of_shape(shape: tuple[int, ...], f: Callable[..., Any], *args: Any, **options: Any) -> Any:
    value = f(*args, **options)
    if value.shape != shape:
        _refuse(f"was of shape {shape} when it was recorded and is now of shape {value.shape}, by its indices")
    return value


def parts(x: Any) -> Iterator[Any]:
    """Yield what nested tuples, lists and dicts hold: arguments of functions, and what rules save."""
    if type(x) is tuple or type(x) is list or type(x) is dict:
        for part in x.values() if type(x) is dict else x:
            yield from parts(part)
    else:
        yield x


def _each(f: Callable[[Any], Any], x: Any) -> Any:
    if type(x) is tuple or type(x) is list:
        return type(x)([_each(f, part) for part in x])
    return {key: _each(f, part) for key, part in x.items()} if type(x) is dict else f(x)


def _value(x: Any) -> Any:
    return x.value if type(x) is Recorded else x


def snapshot(x: Any) -> Any:
    """Return a constant as it is now: the array may be written to by the time that the recording is run."""
    fixed = type(x) is Recorded or not is_array(x) or isinstance(x, numpy.generic)
    return x if fixed or not getattr(x.flags, "writeable", True) else x.copy(order="K")


def is_array(x: Any) -> bool:
    """Whether `x` is an array of any library, or one of NumPy's numbers."""
    return isinstance(x, numpy.ndarray | numpy.generic) or hasattr(type(x), "__array_ufunc__")


def alike(a: Any, b: Any) -> bool:
    """Whether two constants are the same array or number; of anything else, such as functions, nothing is asked."""
    if is_array(a) and type(a) is not Recorded:
        same_kind = (a.shape, a.dtype) == (b.shape, b.dtype)
        return same_kind and bool(backend.to_numpy(a).tobytes() == backend.to_numpy(b).tobytes())
    return repr(a) == repr(b) if isinstance(a, float | complex) else True


def _refuse(what: str) -> NoReturn:
    raise TypeError(f"a recorded array {what}. Or leave this out of the jitted function")


# What a Recorded array does and does not ------------------------------------------------------------------------------

_STATIC: Final = {numpy.shape, numpy.ndim, numpy.size, numpy.result_type}
_NO_DRAWS: Final = {"bit_generator", "shuffle", "spawn"}
_METHODS: Final = {name for name, f in vars(Tensor).items() if callable(f) and name[0] != "_"} - {"item", "tolist"}
_BINARY: Final = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
_OTHERS: Final = ("neg", "pos", "abs", "invert", "lt", "le", "gt", "ge", "eq", "ne")
_NO_NUMBER: Final = ("bool", "float", "int", "index", "complex")
_IN_PLACE: Final = ("setitem", *(f"i{name}" for name in _BINARY))


def _operator(f: Callable[..., Any], *, swapped: bool = False) -> Callable[..., Any]:
    def apply(*operands: Any) -> Any:
        if Tensor in map(type, operands):
            return NotImplemented
        return step(f, operands[::-1] if swapped else operands, {})

    return apply


def _refusal(why: str) -> Callable[..., NoReturn]:
    return lambda *_, **__: _refuse(why)


def _attribute(get: Callable[[Any], Any]) -> Any:
    return property(lambda x: get(x.value))


for _name in (*_BINARY, *_OTHERS):
    setattr(Recorded, f"__{_name}__", _operator(getattr(operator, f"__{_name}__")))
for _name in _BINARY:
    setattr(Recorded, f"__r{_name}__", _operator(getattr(operator, f"__{_name}__"), swapped=True))
for _name in _NO_NUMBER:
    setattr(Recorded, f"__{_name}__", _refusal("is not yet a number, and a branch would be fixed: use np.where"))
for _name in _IN_PLACE:
    setattr(Recorded, f"__{_name}__", _refusal("is not written to: x = x + y and np.where make a new one"))
for _name in ("shape", "ndim", "size", "dtype"):
    setattr(Recorded, _name, _attribute(operator.attrgetter(_name)))
for _name in ("T", "mT"):
    setattr(Recorded, _name, property(_operator(operator.attrgetter(_name))))
