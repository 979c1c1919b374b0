"""Checks that every law's tests share, one claim each: against SciPy, an integral, or a gradient in closed form.

Each raises AssertionError, so that a broken twin can be shown to. Where a check takes `theirs`, that is a frozen law of
scipy.stats, or anything with the methods that are asked for (of mpmath's numbers, where SciPy is doubtful).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm import tree
from minilvm.autograd import check_grads, grad
from minilvm.backend import to_numpy
from minilvm.distributions import Distribution
from tests.distributions.helpers import assert_of, double_exponential
from tests.statistics import assert_drawn_from, assert_frequencies, assert_mean, assert_no_common_sign

SMALLEST = 1e-300  # below it a probability has few digits left

# Against another's law ------------------------------------------------------------------------------------------------


def assert_log_prob(law: Distribution, theirs: Any, x: Any, *, rtol: float = 1e-12, atol: float = 1e-12) -> None:
    """Assert that log p(x) is theirs; `atol` is for where the logarithm passes through 0."""
    log_density = theirs.logpdf if hasattr(theirs, "logpdf") else theirs.logpmf
    assert_allclose(law.log_prob(x), log_density(x), rtol=rtol, atol=atol)


def assert_cdf(law: Distribution, theirs: Any, x: Any, *, rtol: float = 1e-12) -> None:
    """Assert that P(X ≤ x) is theirs, in relative terms far into the left tail too."""
    assert_allclose(law.cdf(x), theirs.cdf(x), rtol=rtol, atol=SMALLEST)


def assert_icdf(law: Distribution, theirs: Any, p: Any, *, rtol: float = 1e-12, atol: float = 0.0) -> None:
    """Assert that the quantiles at probabilities `p` are theirs; `atol` is for where the quantile passes through 0."""
    assert_allclose(law.icdf(p), theirs.ppf(p), rtol=rtol, atol=atol)


def assert_moments(law: Distribution, theirs: Any, *, rtol: float = 1e-12, atol: float = 1e-12) -> None:
    """Assert that mean, variance, deviation and entropy are theirs; `atol` is for those that pass through 0."""
    assert_allclose(law.mean, theirs.mean(), rtol=rtol, atol=atol)
    assert_allclose(law.entropy(), theirs.entropy(), rtol=rtol, atol=atol)
    assert_allclose(law.variance, theirs.var(), rtol=rtol)
    assert_allclose(law.stddev, theirs.std(), rtol=rtol)


# Against its own density ----------------------------------------------------------------------------------------------


def assert_integrates(law: Distribution, points: Sequence[float], *, rtol: float = 1e-8) -> None:
    """Assert that the density of one number integrates to 1, and to the mean, the variance and the entropy.

    For a law of `batch_shape` (). `points` are the ends of the support (infinite ones too) and, between them, where the
    density is not smooth and about where its mass begins and ends. Several orders of magnitude want a point for each.
    """
    x, w = double_exponential(points)
    log_p = law.log_prob(x)
    _assert_totals(law, lambda f: (w * f(x, log_p)).sum(), rtol)


def assert_sums(law: Distribution, values: Any, *, rtol: float = 1e-12) -> None:
    """Assert that the probabilities of all `values` sum to 1, and to the mean, the variance and the entropy.

    For numbers; `values` of shape (S,) + batch_shape holds all that can happen, or all but what has no weight.
    """
    log_p = law.log_prob(values)
    _assert_totals(law, lambda f: f(values, log_p).sum(axis=0), rtol)


def _assert_totals(law: Distribution, total: Callable[[Callable[[Any, Any], Any]], Any], rtol: float) -> None:
    """`total(f)` is the sum or integral of f(x, log p(x)); E[f] is that of f(x) p(x)."""
    assert_allclose(total(lambda x, log_p: numpy.exp(log_p)), 1.0, rtol=rtol)
    given = moments(law)
    if "mean" in given and "variance" in given and numpy.isfinite(given["variance"]).all():
        m, s = given["mean"], given["stddev"]
        s = numpy.where(s > 0, s, 1.0)
        assert_allclose(total(lambda x, log_p: (x - m) / s * numpy.exp(log_p)), 0.0, atol=rtol, err_msg="mean")
        variance = total(lambda x, log_p: ((x - m) / s) ** 2 * numpy.exp(log_p))
        assert_allclose(variance, given["variance"] / s**2, rtol=rtol, atol=1e-300, err_msg="variance")
    if "entropy" in given:
        terms = lambda x, log_p: numpy.where(numpy.isfinite(log_p), -log_p, 0.0) * numpy.exp(log_p)  # noqa: E731
        assert_allclose(total(terms), given["entropy"], rtol=rtol, atol=rtol, err_msg="entropy")


def assert_impossible(make: Callable[..., Distribution], outside: Sequence[Any], inside: Any) -> None:
    """Assert that values outside the support are refused, and without validation score exactly −inf, in float32 too.

    And that then the gradient of what is `inside`, beside them, is finite in every parameter and every value.
    `make(validate_args=…)` makes the law, with `batch_shape` ().
    """
    for value in outside:
        with contextlib.suppress(ValueError):
            make(validate_args=True).log_prob(numpy.stack([inside, value]))
            raise AssertionError(f"log_prob takes {value}, outside the support")
    values = numpy.stack([inside, *outside])
    for dtype in ("float64", "float32"):
        law, x = tree.map(lambda a, dtype=dtype: a.astype(dtype), (make(validate_args=False), values))
        log_p = law.log_prob(x)
        assert log_p.dtype == dtype
        assert_array_equal(log_p[1:], -numpy.inf)
        assert numpy.isfinite(log_p[0])
        for leaf in tree.leaves(grad(lambda both: both[0].log_prob(both[1])[0])((law, x))):
            assert numpy.isfinite(leaf).all(), leaf


# Draws ----------------------------------------------------------------------------------------------------------------


def assert_draws_follow(draws: Any, cdf: Callable[[Any], Any]) -> None:
    """Assert that draws, of shape (K,) + batch_shape, have this continuous distribution function, and are independent.

    Their probability integral transform is uniform (Kolmogorov and Smirnov), and has no sign about ½ in common with
    that of the draw before nor with that of the law beside it. Each at the declared false-alarm rate.
    """
    u = numpy.asarray(cdf(draws))
    assert_drawn_from(u, lambda u: u)
    assert_no_common_sign(u[1:] - 0.5, u[:-1] - 0.5)
    if u.ndim > 1 and u.shape[-1] > 1:
        assert_no_common_sign(u[..., 1:] - 0.5, u[..., :-1] - 0.5)


def assert_counts_follow(draws: Any, values: Sequence[Any], probabilities: Any) -> None:
    """Assert that K draws of one law take these values with these probabilities, and others with what is left."""
    counts = [numpy.count_nonzero((draws == value).reshape(len(draws), -1).all(axis=-1)) for value in values]
    rest = max(0.0, 1.0 - float(numpy.sum(probabilities)))
    rest = rest if rest > 1e-12 else 0.0
    assert_frequencies([*counts, len(draws) - sum(counts)], [*numpy.ravel(probabilities), rest])


def assert_samples(law: Distribution, cdf: Callable[[Any], Any], *, n: int = 50_000, rng: int = 0) -> None:
    """Assert that `sample` and `rsample`, in float64 and float32, give draws with this distribution function."""
    for dtype in ("float64", "float32"):
        typed = tree.map(lambda a, dtype=dtype: a.astype(dtype), law)
        draws = typed.sample(n, rng=rng)
        assert draws.dtype == dtype
        assert_draws_follow(draws.astype(float), cdf)
        if typed.reparameterized:
            assert_array_equal(typed.rsample(n, rng=rng), draws)


# Gradients ------------------------------------------------------------------------------------------------------------


def copies(law: Distribution, n: int) -> Any:
    """The law n times over with parameters of its own each: a gradient in them is one gradient for each draw."""
    return tree.map(lambda leaf: numpy.broadcast_to(leaf, (n, *leaf.shape)), law)


def assert_pathwise(law: Distribution, theirs: Callable[..., Any], *, n: int = 50, rtol: float = 1e-6) -> None:
    """Assert that each draw moves with the parameters as its distribution function says, ∂z/∂θ = −∂F(z; θ)/∂θ / p(z).

    (arXiv:1805.08498, eq. 5.) For a law of one number, of `batch_shape` (), of which z is a function of one ε; and
    exactly: nothing is averaged. `theirs(*parameters)` is a law of SciPy, of the leaves of `law` in order.
    """
    many = copies(law, n)
    z = many.sample(rng=0)
    gradient = tree.leaves(grad(lambda law: np.sum(law.rsample(rng=0)))(many))
    parameters = [float(leaf) for leaf in tree.leaves(law)]
    for i, (value, ours) in enumerate(zip(parameters, gradient, strict=True)):
        h = 1e-3 * max(abs(value), 0.1)

        def F(t: float, i: int = i) -> Any:
            return theirs(*(p + t if j == i else p for j, p in enumerate(parameters))).cdf(z)

        slope = (8.0 * (F(h) - F(-h)) - (F(2 * h) - F(-2 * h))) / (12.0 * h)
        expected = -slope / theirs(*parameters).pdf(z)
        atol = rtol * numpy.abs(expected).max()
        assert_allclose(ours, expected, rtol=rtol, atol=atol, err_msg=f"∂z/∂θ of parameter {i}")


def assert_gradient_of_expectation(
    law: Any, f: Callable[[Any], Any], expectation: Callable[[Any], Any], *, n: int = 20_000
) -> None:
    """Assert that the gradient of E[f(z)], estimated through `rsample`, has that of `expectation(law)` for its mean.

    At the declared false-alarm rate, if the variance of a gradient is at most twice what as many other draws show. For
    a law of `batch_shape` (); `f` maps draws of shape (n,) + event_shape to (n,) numbers.
    """

    def gradients(rng: int) -> Any:
        return tree.leaves(grad(lambda law: np.sum(f(law.rsample(rng=rng))))(copies(law, n)))

    exact = tree.leaves(grad(expectation)(law))
    for path, pilot, drawn, mean in zip(tree.paths(law), gradients(1), gradients(0), exact, strict=True):
        for index in numpy.ndindex(mean.shape):
            each = (slice(None), *index)
            deviation = numpy.sqrt(2.0 * pilot[each].var())
            assert_mean(drawn[each], mean[index], deviation, what=f"the gradient in {path}{list(index) or ''}")


def assert_differentiable(law: Distribution, x: Any, *, p: Any = None) -> None:
    """Assert that log p(x) is twice differentiable in law and value, and so is whatever else the law can say.

    `x` is where all of it is smooth; `p` are probabilities at which to check `icdf`, where it is to be.
    """
    check_grads(lambda law, x: law.log_prob(x), [law, x])
    check_grads(moments, [law])
    with lacking():
        check_grads(lambda law, x: law.cdf(x), [law, x])
    if p is not None:
        check_grads(lambda law, p: law.icdf(p), [law, p])


# Precision and backends -----------------------------------------------------------------------------------------------


def moments(law: Distribution) -> dict[str, Any]:
    """Those of mean, variance, deviation and entropy that the law has."""
    return {name: answer for name, answer in answers(law, None).items() if name in MOMENTS}


MOMENTS = ("mean", "variance", "stddev", "entropy")


def answers(law: Any, x: Any) -> dict[str, Any]:
    """Whatever the law says when asked for everything it may know, by name; about `x`, unless that is None.

    What it lacks is left out: which that is for each law, `LAWS` in test_base.py says.
    """
    asked: dict[str, Callable[[], Any]] = {
        "mean": lambda: law.mean,
        "variance": lambda: law.variance,
        "stddev": lambda: law.stddev,
        "mode": lambda: law.mode,
        "entropy": law.entropy,
    }
    if x is not None:
        asked |= {"log_prob": lambda: law.log_prob(x), "cdf": lambda: law.cdf(x), "icdf": lambda: law.icdf(0.3)}
        asked |= {"enumerate_support": law.enumerate_support}
    found = {}
    for name, ask in asked.items():
        with lacking():
            found[name] = ask()
    return found


@contextlib.contextmanager
def lacking() -> Iterator[None]:
    """Pass over what a law says that it has not."""
    try:
        yield
    except (NotImplementedError, TypeError) as error:
        if not re.search(r" has no | have no ", str(error)):
            raise


def assert_precision(law: Any, x: Any, *, rtol: float = 1e-5, atol: float = 1e-5) -> None:
    """Assert that float32 stays float32 in all that the law says, draws and differentiates, and loses little.

    That is: the float64 law of the same parameters, rounded to float32, says the same.
    """
    single, x32 = tree.map(lambda a: numpy.asarray(a).astype("float32"), (law, x))
    double, x64 = tree.map(lambda a: a.astype("float64"), (single, x32))
    theirs = answers(double, x64)
    for name, answer in answers(single, x32).items():
        assert answer.dtype == "float32", f"{name} is {answer.dtype}"
        assert_allclose(answer, theirs[name], rtol=rtol, atol=atol, err_msg=name)
    for leaf in tree.leaves(grad(lambda both: np.sum(both[0].log_prob(both[1])))((single, x32))):
        assert leaf.dtype == "float32", f"a gradient of log_prob is {leaf.dtype}"
    assert single.sample(3, rng=0).dtype == "float32"
    if single.reparameterized:
        for leaf in tree.leaves(grad(lambda law: np.sum(law.rsample(3, rng=0)))(single)):
            assert leaf.dtype == "float32", f"a gradient of rsample is {leaf.dtype}"


def assert_every_backend(xp: Any, law: Any, x: Any, *, rtol: float = 1e-10) -> None:
    """Assert that the law says the same on arrays of `xp` as on NumPy's, in arrays of `xp`; and its gradients too."""
    there, x_there = tree.map(xp.asarray, (law, x))
    theirs = answers(law, x)
    ours = answers(there, x_there)
    assert ours.keys() == theirs.keys()
    for name, answer in ours.items():
        assert_of(xp, answer)
        assert_allclose(to_numpy(answer), theirs[name], rtol=rtol, atol=1e-12, err_msg=name)

    def score(both: Any) -> Any:
        return np.sum(both[0].log_prob(both[1]))

    for leaf, expected in zip(*(tree.leaves(grad(score)(both)) for both in ((there, x_there), (law, x))), strict=True):
        assert_of(xp, leaf)
        assert_allclose(to_numpy(leaf), expected, rtol=rtol, atol=1e-12)
    assert_of(xp, there.sample(3, rng=0))
    if there.reparameterized:
        for leaf in tree.leaves(grad(lambda law: np.sum(law.rsample(3, rng=0)))(there)):
            assert_of(xp, leaf)
