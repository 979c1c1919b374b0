"""Mixtures of Gaussians by EM against scikit-learn and JAX: the cost of an iteration, and of a fit."""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator

import numpy
from harness import Contest, Work, installed, main

from minilvm.inference import fit_em
from minilvm.models import MixtureOfGaussians

SKLEARN, JAX = installed("sklearn"), installed("jax")

FULL = {  # (N, D, C): the most our time may be, as a multiple of scikit-learn's and of JAX's
    (1_000, 2, 3): (0.20, 0.8),
    (100_000, 2, 8): (0.05, 0.6),
    (100_000, 16, 16): (0.12, 0.5),
    (20_000, 64, 10): (0.25, 0.4),
    (1_000_000, 4, 8): (0.05, 0.5),
}
DIAG = dict(zip(FULL, (0.15, 0.10, 0.10, 0.35, 0.06), strict=True))


def problem(N: int, D: int, C: int, covariance_type: str, separation: float = 4.0):
    """Data from a mixture, and a mixture to start from whose components are a little off and too wide."""
    rng = numpy.random.default_rng(0)
    means = separation * rng.standard_normal((C, D))
    x = means[rng.integers(0, C, N)] + rng.standard_normal((N, D))
    covariances = {"full": 1.5 * numpy.stack([numpy.eye(D)] * C), "diag": numpy.full((C, D), 1.5)}[covariance_type]
    start = means + 0.3 * rng.standard_normal((C, D))
    return x, MixtureOfGaussians(numpy.full(C, 1 / C), start, covariances, covariance_type)


def iterations(
    size: tuple[int, int, int], covariance_type: str, goals: dict[str, float], separation: float = 4.0
) -> Contest:
    """The same steps from the same start; all must reach the same log-likelihood."""
    x, start = problem(*size, covariance_type, separation)
    n = 100 if len(x) < 10_000 else 10 if len(x) < 1_000_000 else 3
    reached = {"minilvm": fit_em(start, x, max_iter=n, tol=-1.0).lower_bounds[-1]}
    peers: dict[str, Work | None] = {"sklearn": None}
    if SKLEARN:
        peers["sklearn"], reached["sklearn"] = _sklearn(x, start, n)
    if covariance_type == "full":
        peers["jax jit"] = None
        if JAX:
            peers["jax jit"], reached["jax jit"] = _jax(x, start, n)
    for name, bound in reached.items():
        assert abs(bound / reached["minilvm"] - 1.0) < 1e-8, f"{name} is at {bound}, not {reached['minilvm']}"
    N, D, C = size
    name = f"EM, {covariance_type}, {N:,} × {D}, {C} components" + (", overlapping" if separation < 4.0 else "")
    return Contest(name, lambda: fit_em(start, x, max_iter=n, tol=-1.0), peers, goals, per=n)


def _sklearn(x: numpy.ndarray, start: MixtureOfGaussians, max_iter: int, tol: float = 0.0) -> tuple[Work, float]:
    from sklearn.mixture import GaussianMixture

    full = start.covariance_type == "full"
    mixture = GaussianMixture(
        len(start.weights), covariance_type=start.covariance_type, reg_covar=0.0, tol=tol, max_iter=max_iter,
        weights_init=start.weights, means_init=start.means,
        precisions_init=numpy.linalg.inv(start.covariances) if full else 1.0 / start.covariances,
    )  # fmt: skip

    def work() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # so few steps are not enough
            return mixture.fit(x)

    work()
    return work, mixture.score(x) * len(x)


def _jax(x: numpy.ndarray, start: MixtureOfGaussians, n: int) -> tuple[Work, float]:
    """The fastest of three ways to write it, compiled; double precision."""
    import jax

    jax.config.update("jax_enable_x64", val=True)
    data = jax.numpy.asarray(x)
    parameters = tuple(jax.numpy.asarray(a) for a in (start.weights, start.means, start.covariances))
    fastest: dict[float, Callable] = {}
    for write in (_jax_by_features, _jax_by_whitening, _jax_by_component):
        step = jax.jit(write)
        jax.block_until_ready(step(data, *parameters))
        begun = time.perf_counter()
        jax.block_until_ready(step(data, *parameters))
        fastest[time.perf_counter() - begun] = step
    step = fastest[min(fastest)]

    def work() -> object:
        theta = parameters
        for _ in range(n):
            _, *theta = step(data, *theta)
        return float(step(data, *theta)[0])

    return work, work()


def _posterior(jnp, log_joint):
    top = log_joint.max(axis=0)
    r = jnp.exp(jnp.maximum(log_joint - top, -500.0))
    total = r.sum(axis=0)
    return (top + jnp.log(total)).sum(), r / total


def _inverse_factors(jnp, covariances):
    import jax

    L = jnp.linalg.cholesky(covariances)
    identity = jnp.broadcast_to(jnp.eye(L.shape[-1]), L.shape)
    inverse = jax.scipy.linalg.solve_triangular(L, identity, lower=True)
    return inverse, jnp.log(jnp.diagonal(inverse, axis1=1, axis2=2)).sum(axis=1) - 0.5 * L.shape[-1] * jnp.log(
        2 * jnp.pi
    )


def _jax_by_features(x, weights, means, covariances):
    import jax.numpy as jnp

    D = x.shape[1]
    origin = weights @ means
    inverse, log_det = _inverse_factors(jnp, covariances)
    precisions, m = jnp.swapaxes(inverse, 1, 2) @ inverse, means - origin
    linear = jnp.einsum("cij,cj->ci", precisions, m)
    rows, columns = numpy.triu_indices(D)
    quadratic = -precisions[:, rows, columns] * numpy.where(rows == columns, 0.5, 1.0)
    theta = jnp.concatenate([(jnp.log(weights) + log_det - 0.5 * (linear * m).sum(1))[:, None], linear, quadratic], 1)
    X = (x - origin).T
    phi = jnp.concatenate([jnp.ones((1, len(x))), X, X[rows] * X[columns]])
    log_p, r = _posterior(jnp, theta @ phi)
    moments = r @ phi.T
    counts, shift = moments[:, 0], moments[:, 1 : 1 + D] / moments[:, :1]
    second = jnp.zeros_like(covariances).at[:, rows, columns].set(moments[:, 1 + D :])
    second = second.at[:, columns, rows].set(moments[:, 1 + D :])
    fitted = second / counts[:, None, None] - shift[:, :, None] * shift[:, None, :]
    return log_p, counts / counts.sum(), origin + shift, fitted


def _jax_by_whitening(x, weights, means, covariances):
    import jax.numpy as jnp

    inverse, log_det = _inverse_factors(jnp, covariances)
    y = jnp.einsum("cij,nj->cni", inverse, x) - jnp.einsum("cij,cj->ci", inverse, means)[:, None, :]
    log_p, r = _posterior(jnp, (jnp.log(weights) + log_det)[:, None] - 0.5 * (y * y).sum(axis=2))
    counts = r.sum(axis=1)
    fitted = r @ x / counts[:, None]
    d = x - fitted[:, None, :]
    return (
        log_p,
        counts / counts.sum(),
        fitted,
        jnp.einsum("cni,cnj->cij", d * r[:, :, None], d) / counts[:, None, None],
    )


def _jax_by_component(x, weights, means, covariances):
    import jax
    import jax.numpy as jnp

    inverse, log_det = _inverse_factors(jnp, covariances)

    def log_joint(parameters):
        W, mean, constant = parameters
        return constant - 0.5 * jnp.square((x - mean) @ W.T).sum(axis=1)

    def scatter(parameters):
        row, mean = parameters
        d = x - mean
        return (d * row[:, None]).T @ d

    log_p, r = _posterior(jnp, jax.lax.map(log_joint, (inverse, means, jnp.log(weights) + log_det)))
    counts = r.sum(axis=1)
    fitted = r @ x / counts[:, None]
    return log_p, counts / counts.sum(), fitted, jax.lax.map(scatter, (r, fitted)) / counts[:, None, None]


def convergence(separation: float, accelerate: str | None) -> Contest:
    """A whole fit, until a step gains less than 1e-6 nats a point."""
    x, start = problem(20_000, 4, 5, "full", separation)
    peers: dict[str, Work | None] = {"sklearn": _sklearn(x, start, 10_000, 1e-6)[0] if SKLEARN else None}
    name = f"fit, full, 20,000 × 4, 5 components, {separation:g} apart" + (f", {accelerate}" if accelerate else "")
    return Contest(name, lambda: fit_em(start, x, max_iter=10_000, tol=1e-6, accelerate=accelerate), peers)


def peak_memory() -> float:
    """What a fit to a million points allocates at its peak, in MB, above the data; of NumPy too, which reports it."""
    part, start = problem(50_000, 4, 8, "full")
    x = numpy.tile(part, (20, 1))
    fit_em(start, part, max_iter=1)  # libraries loaded
    tracemalloc.start()
    fit_em(start, x, max_iter=2, tol=-1.0)
    return tracemalloc.get_traced_memory()[1] / 1e6


def contests(*, quick: bool) -> Iterator[Contest]:
    """Yield every comparison; of the iterations in quick mode the smallest two."""
    sizes = list(FULL)[: 2 if quick else None]
    for size in sizes:
        of_sklearn, of_jax = FULL[size]
        yield iterations(size, "full", {"sklearn": of_sklearn, "jax jit": of_jax})
    if not quick:
        yield iterations((20_000, 64, 10), "full", {}, separation=0.5)
    for size in sizes:
        yield iterations(size, "diag", {"sklearn": DIAG[size]})
    for separation, accelerate in [(4.0, None), (1.5, None), (1.5, "squarem")]:
        yield convergence(separation, accelerate)


if __name__ == "__main__":
    if sys.argv[1:] == ["--peak-memory"]:
        print(peak_memory())
    else:
        main(contests, __doc__)
        run = subprocess.run([sys.executable, __file__, "--peak-memory"], check=True, capture_output=True, text=True)
        print(
            f"\nPeak memory of a fit of 1,000,000 × 4 points, above the data: {float(run.stdout):.1f} MB (goal: ≤ 100)"
        )
