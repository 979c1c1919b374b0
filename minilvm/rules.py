"""Rules: how a function learns its derivative, and what it then does when it is given something traced.

`primitive` is for any function, `elementwise` for NumPy's functions of one or two arguments, where the microseconds
are, and `constant` for functions whose derivative is 0 or nothing. What the first two make of a function does three
things: find the innermost tape among the arguments, compute on the values, leave an entry that says how to come back.
"""

from __future__ import annotations

import contextvars
import functools
import math
import sys
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final, NoReturn

from minilvm.backend import Array, describe_devices
from minilvm.tape import Edge, Pull, Tensor, stop_gradient

__all__ = ["HANDLERS", "atomic", "constant", "elementwise", "primitive", "recorder", "unbroadcast"]

Vjp = Callable[..., Array]

Recorder = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
recorder: contextvars.ContextVar[Recorder | None] = contextvars.ContextVar("minilvm_recorder", default=None)

HANDLERS: Final[dict[Any, Callable[..., Any]]] = {}  # NumPy's functions -> ours, for np.exp(tensor) and its like


def primitive(forward: Callable[..., Array] | None = None, /, **vjps: Vjp) -> Callable[..., Any]:
    """Make `forward` a differentiable function, given one vector-Jacobian product per differentiable argument.

    A rule is named after its argument. It takes the cotangent `g = ∂L/∂y` first and returns `∂L/∂argument`; after `g`
    it asks by name for what it needs, and only that is kept alive until the backward pass: `y` (the answer), any
    argument or option of `forward`, or `<argument>_shape` where the shape will do. Rules are written with NumPy's
    functions or `minilvm.numpy`'s, which makes them differentiable in their turn.

    >>> from minilvm.autograd import grad
    >>> @primitive(x=lambda g, x: g * 3.0 * x**2)
    ... def cube(x):
    ...     return x**3
    >>> float(grad(cube)(2.0))
    12.0

    An argument `*xs` has one rule for all of its members, which asks for `i` to learn which one it serves.
    """
    if forward is None:
        return lambda f: primitive(f, **vjps)
    names, variadic = _parameters(forward)
    defaults = _defaults(forward)
    _check_rules(forward, vjps)
    n = len(names)
    rules = [_rule(forward, name, vjps.get(name)) for name in (*names, variadic) if name]
    measured = _measured(forward, vjps)

    @functools.wraps(forward)
    def apply(*args: Array, **options: Any) -> Array:
        if Tensor not in map(type, args):
            if options and Tensor in map(type, options.values()):
                raise TypeError(f"{_name(forward)} takes traced arguments by position only")
            try:
                record = recorder.get()
                return forward(*args, **options) if record is None else record(forward, args, options)
            except TypeError:
                _refuse_mixed(args)
                raise
        tape = _innermost(args)
        values = [a.value if type(a) is Tensor and a.tape is tape else a for a in args]
        y = apply(*values, **options)
        known = {**defaults, **options, "y": y}
        known.update(zip(names, values))  # noqa: B905 (as many as were given)
        if variadic:
            known[variadic] = tuple(values[n:])
        for name, base, measure in measured:
            known[name] = measure(known[base])
        edges = []
        for i, a in enumerate(args):
            if type(a) is Tensor and a.tape is tape:
                pull, save = rules[i] if i < n else rules[n]
                known["i"] = i - n
                edges.append((pull, a.index, save(known)))
        return Tensor(y, tape, tuple(edges))

    return apply


def _rule(forward: Callable[..., Array], name: str, vjp: Vjp | None) -> tuple[Pull, Callable[[dict[str, Any]], Any]]:
    """The rule for an argument as the tape holds it, and what picks the values it asks for out of those known.

    Every rule is called with two arguments, `g` and what was saved: unpacking a tuple into a call takes as long as the
    arithmetic of a small array. So a rule that asks for one thing is called as it stands.
    """
    if vjp is None:
        return forward, functools.partial(_refuse_argument, forward, name)
    wanted = _parameters(vjp)[0][1:]
    save = itemgetter(*wanted) if wanted else lambda _: ()
    return _named(vjp if len(wanted) == 1 else _unpacking(vjp), forward), save


def _refuse_argument(forward: Callable[..., Array], name: str, _: Any) -> NoReturn:
    raise TypeError(
        f"{_name(forward)} has no derivative with respect to {name!r}; pass stop_gradient of it where it is a "
        "constant, or give it a rule with minilvm.autograd.primitive"
    )


def _measured(forward: Callable[..., Array], vjps: dict[str, Vjp]) -> list[tuple[str, str, Callable[[Any], Any]]]:
    """The shapes that rules ask for: under what name, of which value, and how to take them."""
    names, variadic = _parameters(forward)
    known = {*names, *_defaults(forward), variadic, "y", "i"}
    asked = {want: want.removesuffix("_shape") for vjp in vjps.values() for want in _parameters(vjp)[0][1:]}
    return [(want, base, _shapes if base == variadic else _shape) for want, base in asked.items() if want not in known]


def _shape(x: Any) -> tuple[int, ...]:
    return getattr(x, "shape", ())


def _shapes(xs: tuple[Any, ...]) -> tuple[tuple[int, ...], ...]:
    return tuple(map(_shape, xs))


def _unpacking(vjp: Vjp) -> Pull:
    return lambda g, saved: vjp(g, *saved)


def _check_rules(forward: Callable[..., Array], vjps: dict[str, Vjp]) -> None:
    """Refuse, where they are written, rules that could not work, or not as they read."""
    names, variadic = _parameters(forward)
    code = forward.__code__
    arguments = {*code.co_varnames[: code.co_argcount + code.co_kwonlyargcount], *filter(None, [variadic])}
    if taken := arguments & {"y", "i"}:
        raise TypeError(f"{_name(forward)} has an argument {taken.pop()}, a name that rules use themselves: rename it")
    known = {*arguments, "y", *(f"{name}_shape" for name in {*arguments, "y"}), *("i" if variadic else ())}
    for name, vjp in vjps.items():
        if name not in {*names, variadic}:
            raise TypeError(f"{_name(forward)} has no argument {name} to give a rule to")
        if unknown := [want for want in _parameters(vjp)[0][1:] if want not in known]:
            raise TypeError(f"the rule for {name} of {_name(forward)} asks for {', '.join(unknown)}: no such argument")


def atomic(f: Callable[..., Any]) -> Callable[..., Any]:
    """Make `f` one step of a recording (`minilvm.autograd.jit`), whatever it asks of its arrays, as a primitive is."""

    @functools.wraps(f)
    def apply(*args: Any, **options: Any) -> Any:
        record = recorder.get()
        return f(*args, **options) if record is None else record(f, args, options)

    return apply


def constant(f: Callable[..., Any]) -> Callable[..., Any]:
    """Make `f` a function whose derivative is 0 or undefined everywhere: its result is never traced."""

    @functools.wraps(f)
    def apply(*args: Any, **options: Any) -> Any:
        return f(*map(stop_gradient, args), **{name: stop_gradient(option) for name, option in options.items()})

    return apply


def elementwise(ufunc: Any, **vjps: Vjp) -> Callable[..., Array]:
    """Make a NumPy ufunc of one or two arguments differentiable: a faster `primitive` for the functions used most.

    The rules' names, in order, are the arguments' names; a rule that needs nothing but `g` asks for `_`. Operands
    broadcast; the backward pass sums a cotangent over the axes along which its operand was stretched.
    """
    apply = (_unary if ufunc.nin == 1 else _binary)(ufunc, vjps)
    HANDLERS[ufunc] = apply
    apply.__name__ = apply.__qualname__ = ufunc.__name__
    apply.__module__ = sys._getframe(1).f_globals["__name__"]  # noqa: SLF001 (where it can be unpickled from)
    apply.__doc__ = "\n\n".join((ufunc.__doc__ or "").split("\n\n")[:2])  # its signature, and what it returns
    return apply


def _unary(ufunc: Any, vjps: dict[str, Vjp]) -> Callable[..., Array]:
    ((name, vjp),) = vjps.items()
    pull, save = _compiled(ufunc, vjp, ("y", name))

    def apply(x: Array) -> Array:
        if type(x) is not Tensor:
            return ufunc(x)
        value = x.value
        y = ufunc(value)
        return Tensor(y, x.tape, ((pull, x.index, save((y, value, None))),))

    return apply


def _binary(ufunc: Any, vjps: dict[str, Vjp]) -> Callable[..., Array]:
    (name_a, vjp_a), (name_b, vjp_b) = vjps.items()
    pull_a, save_a = _compiled(ufunc, vjp_a, ("y", name_a, name_b))
    pull_b, save_b = _compiled(ufunc, vjp_b, ("y", name_a, name_b))

    def apply(a: Array, b: Array) -> Array:
        if type(a) is Tensor and type(b) is float:  # what follows, for the commonest case
            u = a.value
            y = ufunc(u, b)
            return Tensor(y, a.tape, ((pull_a, a.index, save_a((y, u, b, None))),))
        on_a, on_b = type(a) is Tensor, type(b) is Tensor
        if on_a and on_b and a.tape is not b.tape:
            on_a = a.tape.age > b.tape.age
            on_b = not on_a
        u = a.value if on_a else a
        v = b.value if on_b else b
        try:
            y = ufunc(u, v)
        except TypeError:
            _refuse_mixed((u, v))
            raise
        if not on_a and not on_b:
            return y
        known = (y, u, v, None)
        shape = y.shape
        edges: tuple[Edge, ...] = ()
        if on_a:
            edge = (pull_a, a.index, save_a(known))
            edges = (edge if u.shape == shape else _stretched(edge, u.shape),)
        if on_b:
            edge = (pull_b, b.index, save_b(known))
            edges += (edge if v.shape == shape else _stretched(edge, v.shape),)
        return Tensor(y, a.tape if on_a else b.tape, edges)

    return apply


def _compiled(ufunc: Any, vjp: Vjp, known: tuple[str, ...]) -> tuple[Pull, Callable[[tuple[Any, ...]], Any]]:
    """A rule as the tape holds it, and what picks its saved values out of those of `known`, and None for `_`."""
    wanted = [(*known, "_").index(name) for name in _parameters(vjp)[0][1:]]
    if len(wanted) == 1:
        return _named(vjp, ufunc), itemgetter(wanted[0])
    return _named(_unpacking(vjp), ufunc), itemgetter(*wanted)


def _stretched(edge: Edge, shape: tuple[int, ...]) -> Edge:
    """The edge of an operand that was broadcast from `shape`: sum its cotangent back down."""
    pull, index, saved = edge
    return _named(lambda g, saved: unbroadcast(pull(g, saved), shape), pull), index, saved


def _refuse_mixed(args: tuple[Any, ...]) -> None:
    """Say so, if arrays of two libraries were the reason for an error."""
    mixed = describe_devices(*args)
    if mixed is not None:
        raise TypeError(mixed)


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """Sum `g` down to `shape`, the adjoint of broadcasting `shape` up to `g.shape`."""
    if g.size == math.prod(shape):
        return g.reshape(shape)
    stretched = tuple(range(g.ndim - len(shape)))
    stretched += tuple(i for i, n in enumerate(shape, start=g.ndim - len(shape)) if n == 1 and g.shape[i] != 1)
    return g.sum(axis=stretched).reshape(shape)


def _innermost(args: tuple[Any, ...]) -> Any:
    """The youngest of the tapes that the traced ones among the arguments are on."""
    tape = None
    for a in args:
        if type(a) is Tensor and (tape is None or a.tape.age > tape.age):
            tape = a.tape
    return tape


def _parameters(f: Callable[..., Any]) -> tuple[tuple[str, ...], str | None]:
    """Names of the positional parameters, and of the variadic one (`inspect` says the same, at 10 ms an import)."""
    code = f.__code__
    n = code.co_argcount
    end = n + code.co_kwonlyargcount
    return code.co_varnames[:n], code.co_varnames[end] if code.co_flags & 0x04 else None


def _defaults(f: Callable[..., Any]) -> dict[str, Any]:
    names, values = _parameters(f)[0], f.__defaults__ or ()
    return {**dict(zip(names[len(names) - len(values) :], values, strict=True)), **(f.__kwdefaults__ or {})}


def _name(f: Callable[..., Any]) -> str:
    return getattr(f, "__name__", repr(f)).lstrip("_")


def _named(pull: Pull, operation: Callable[..., Any]) -> Pull:
    """Let a rule bear the name of its operation: it is how an entry on a tape says what it is."""
    pull.__name__ = _name(operation)
    return pull
