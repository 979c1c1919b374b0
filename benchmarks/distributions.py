"""The laws against PyTorch's, with and without its validation; samplers against NumPy's; and what validation costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy
from harness import Contest, Work, installed, main

from minilvm import distributions
from minilvm.autograd import value_and_grad

TORCH = installed("torch")
N, BATCH, PIXELS = 10_000, 100, 784

Law = Callable[..., Any]


def log_prob(work: str, name: str, parameters: dict[str, numpy.ndarray], x: numpy.ndarray) -> Contest:
    """A log-density at N points and its gradient in the parameters, by the law of that name in both libraries."""
    peers: dict[str, Work | None] = {"torch": None, "torch, validating": None}
    if TORCH:
        import torch

        law, leaves = getattr(torch.distributions, name), [torch.tensor(p, requires_grad=True) for p in _of(parameters)]
        data = torch.tensor(x)

        def with_torch(*, validate_args: bool) -> object:
            log_p = law(**dict(zip(parameters, leaves, strict=True)), validate_args=validate_args).log_prob(data).sum()
            return log_p.item(), torch.autograd.grad(log_p, leaves)

        peers = {
            "torch": lambda: with_torch(validate_args=False),
            "torch, validating": lambda: with_torch(validate_args=True),
        }
    goals = {"torch": 1.0, "torch, validating": 0.7}
    return Contest(f"{work}, log_prob and gradient", ours(name, parameters, x), peers, goals)


def ours(name: str, parameters: dict[str, numpy.ndarray], x: numpy.ndarray, *, validate_args: bool = True) -> Work:
    """Return the same work by this library."""
    law = getattr(distributions, name)
    both = value_and_grad(lambda parameters: law(**parameters, validate_args=validate_args).log_prob(x).sum())
    return lambda: both(parameters)


def _of(parameters: dict[str, numpy.ndarray]) -> list[numpy.ndarray]:
    return list(parameters.values())


def normal(dtype: str = "float32") -> tuple[dict[str, numpy.ndarray], numpy.ndarray]:
    """Return a mean and a deviation for each number, as a network gives them, and the numbers."""
    rng = numpy.random.default_rng(0)
    loc, log_scale, x = rng.standard_normal((3, BATCH, PIXELS)).astype(dtype)
    return {"loc": loc, "scale": numpy.exp(log_scale)}, x


def multivariate_normal(D: int, dtype: str) -> Contest:
    """One mean and one covariance for all points, as in a mixture's component."""
    rng = numpy.random.default_rng(0)
    loc, x = rng.standard_normal(D).astype(dtype), rng.standard_normal((N, D)).astype(dtype)
    a = rng.standard_normal((D, D))
    factor = numpy.linalg.cholesky(a @ a.T / D + numpy.eye(D)).astype(dtype)
    name = "MultivariateNormal"
    return log_prob(f"{name}, 10,000 points, D = {D}, {dtype}", name, {"loc": loc, "scale_tril": factor}, x)


def sampling(law: Any, numpys: str, *parameters: Any, **options: Any) -> Contest:
    """A hundred thousand draws of one law, and of NumPy's method of that name."""
    n, rng, theirs = 10 * N, numpy.random.default_rng(0), numpy.random.default_rng(0)
    method = getattr(theirs, numpys)
    peer = f"Generator.{numpys}"
    work = f"{type(law).__name__}, {n:,} draws"
    return Contest(work, lambda: law.sample(n, rng=rng), {peer: lambda: method(*parameters, n, **options)}, {peer: 1.3})


def samplers() -> Iterator[Contest]:
    """Yield every law that NumPy can draw too."""
    d, p = distributions, numpy.full(10, 0.1)
    yield sampling(d.Normal(2.0, 3.0), "normal", 2.0, 3.0)
    yield sampling(d.Uniform(2.0, 3.0), "uniform", 2.0, 3.0)
    yield sampling(d.Exponential(2.0), "exponential", 0.5)
    yield sampling(d.Laplace(2.0, 3.0), "laplace", 2.0, 3.0)
    yield sampling(d.Gumbel(2.0, 3.0), "gumbel", 2.0, 3.0)
    yield sampling(d.LogNormal(0.0, 1.0), "lognormal", 0.0, 1.0)
    yield sampling(d.Gamma(2.5, 2.0), "gamma", 2.5, 0.5)
    yield sampling(d.Beta(2.5, 1.5), "beta", 2.5, 1.5)
    yield sampling(d.StudentT(3.0), "standard_t", 3.0)
    yield sampling(d.Dirichlet(numpy.arange(1.0, 6.0)), "dirichlet", numpy.arange(1.0, 6.0))
    yield sampling(d.Bernoulli(0.3), "binomial", 1, 0.3)
    yield sampling(d.Binomial(20, 0.3), "binomial", 20, 0.3)
    yield sampling(d.Poisson(4.0), "poisson", 4.0)
    yield sampling(d.DiscreteUniform(0, 9), "integers", 0, 10)
    yield sampling(d.Categorical(p), "choice", 10, p=p)
    yield sampling(d.OneHotCategorical(p), "multinomial", 1, p)


def contests(*, quick: bool) -> Iterator[Contest]:
    """Yield every comparison."""
    rng = numpy.random.default_rng(0)
    parameters, x = normal()
    yield log_prob("Normal, 100 × 784, float32", "Normal", parameters, x)
    logits = rng.standard_normal((BATCH, PIXELS)).astype("float32")
    bits = (rng.random((BATCH, PIXELS)) < 0.5).astype("float32")
    yield log_prob("Bernoulli from logits, 100 × 784, float32", "Bernoulli", {"logits": logits}, bits)
    logits, labels = rng.standard_normal((N, 10)).astype("float32"), rng.integers(0, 10, N)
    yield log_prob("Categorical from logits, 10,000 × 10, float32", "Categorical", {"logits": logits}, labels)
    for dtype in ["float64"] if quick else ["float32", "float64"]:
        for D in (16, 64):
            yield multivariate_normal(D, dtype)
    validating, not_ = ours("Normal", parameters, x), ours("Normal", parameters, x, validate_args=False)
    yield Contest("Normal, 100 × 784, under grad, validating", validating, {"not": not_}, {"not": 1.02})
    yield from samplers()


if __name__ == "__main__":
    main(contests, __doc__)
