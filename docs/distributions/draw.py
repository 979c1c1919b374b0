"""Draw the pictures of these pages: `python docs/distributions/draw.py [FOLDER]`, by default into `pictures/`.

On the left is the density. On the right is what a gradient through a draw means: how a draw moves as a parameter does
and the randomness stays. Lines are quantiles, each at a fixed probability; dots are draws, and the dash through a dot
has the slope ∂x/∂θ that `rsample` sends back. A law that is not reparameterised has steps there, and no dashes.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy
from matplotlib.figure import Figure
from PIL import Image

import minilvm.numpy as np
from minilvm import distributions as d
from minilvm import plot
from minilvm.autograd import grad
from minilvm.distributions.base import unchecked

PICTURES = Path(__file__).with_name("pictures")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
STYLE = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}
STYLE |= {"lines.linewidth": 1.2, "legend.frameon": False}

Law = Callable[..., d.Distribution]
Axes = Any
Drawing = Callable[[Figure, int], None]
Range = tuple[float, float]


# What most pictures are made of ---------------------------------------------------------------------------------------


def density(ax: Axes, laws: dict[str, d.Distribution], x: numpy.ndarray) -> None:
    """p(x) of each law, under its label."""
    for label, law in laws.items():
        ax.plot(x, numpy.exp(unchecked(law).log_prob(x)), label=label)
    ax.set(xlabel="x", ylabel="p(x)", ylim=(0, None))
    ax.legend()


def masses(ax: Axes, laws: dict[str, d.Distribution], x: numpy.ndarray) -> None:
    """p(x) of each law over the values it can take, side by side."""
    width = 0.8 / len(laws)
    for i, (label, law) in enumerate(laws.items()):
        ax.bar(x + (i - 0.5 * (len(laws) - 1)) * width, numpy.exp(unchecked(law).log_prob(x)), width, label=label)
    ax.set(xlabel="x", ylabel="p(x)")
    ax.xaxis.get_major_locator().set_params(integer=True)
    if len(laws) > 1:
        ax.legend()


def movement(ax: Axes, law: Law, theta: numpy.ndarray, name: str, n: int) -> None:
    """Quantiles of `law(θ)` as functions of θ, draws of it, and through each draw its slope ∂x/∂θ."""
    for p in QUANTILES:
        ax.plot(theta, quantile(law(theta), p), color="0.7", linewidth=0.8)
    at = numpy.repeat(numpy.linspace(theta[0], theta[-1], 9)[1:-1], max(1, n // 7))
    x = law(at).sample(rng=0)
    ax.plot(at, x, "o", markersize=2, color="C3")
    ax.yaxis.get_major_locator().set_params(integer=not law(at).reparameterized)
    if law(at).reparameterized:
        slope = grad(lambda at: np.sum(law(at).rsample(rng=0)))(at)
        reach = 0.035 * (theta[-1] - theta[0])
        ax.plot([at - reach, at + reach], [x - reach * slope, x + reach * slope], color="C3", linewidth=1)
    ax.set(xlabel=name, ylabel="x")


def quantile(law: d.Distribution, p: float) -> numpy.ndarray:
    """The quantile at probability p; of a law of counts that has none in closed form, the first count up to there."""
    try:
        return law.icdf(p)
    except NotImplementedError:
        return (law.cdf(numpy.arange(50.0)[:, None]) < p).sum(axis=0)


def two(left: Callable[[Axes, int], None], right: Callable[[Axes, int], None]) -> Drawing:
    """A picture of two panels."""

    def draw(figure: Figure, n: int) -> None:
        for ax, panel in zip(figure.subplots(1, 2), (left, right), strict=True):
            panel(ax, n)

    return draw


def continuous(laws: dict[str, d.Distribution], x: Range, law: Law, theta: Range, name: str) -> Drawing:
    """The densities of some laws over a range of x; draws of `law(θ)` over a range of θ, the parameter of that name."""
    return two(
        lambda ax, n: density(ax, laws, numpy.linspace(*x, 20 * n + 1)),
        lambda ax, n: movement(ax, law, numpy.linspace(*theta, 10 * n + 1), name, n),
    )


def of_counts(laws: dict[str, d.Distribution], highest: int, law: Law, theta: Range, name: str) -> Drawing:
    """The same for laws of counts."""
    return two(
        lambda ax, _: masses(ax, laws, numpy.arange(highest + 1.0)),
        lambda ax, n: movement(ax, law, numpy.linspace(*theta, 40 * n + 1), name, n),
    )


# What only one law has ------------------------------------------------------------------------------------------------


def log_likelihoods(ax: Axes, n: int) -> None:
    """The two outcomes of a bit, as functions of its log-odds."""
    a = numpy.linspace(-6.0, 6.0, 20 * n + 1)
    for bit in (0, 1):
        ax.plot(a, d.Bernoulli(logits=a).log_prob(bit), label=f"x = {bit}")
    ax.set(xlabel="logit a", ylabel="log p(x)")
    ax.legend()


def jumping_bits(ax: Axes, n: int) -> None:
    """Draws of a bit as its log-odds grow."""
    movement(ax, lambda a: d.Bernoulli(logits=a), numpy.linspace(-4.0, 4.0, 40 * n + 1), "logit a", n)


def dice(ax: Axes, _: int) -> None:
    """All six sides, and three of them."""
    masses(ax, {"1 … 6": d.DiscreteUniform(1, 6), "3 … 5": d.DiscreteUniform(3, 5)}, numpy.arange(1, 7))


WEIGHTS = numpy.array([1.0, 3.0, 2.0, 0.5])


def labels(ax: Axes, _: int) -> None:
    """Probabilities of four labels."""
    masses(ax, {"": d.Categorical(probs=WEIGHTS)}, numpy.arange(4))
    ax.set(xlabel="z", ylabel="p(z)")


def inverse(law: d.Distribution, name: str) -> Callable[[Axes, int], None]:
    """The quantile function: a draw as a function of the uniform u that is its randomness."""

    def draw(ax: Axes, n: int) -> None:
        u = numpy.linspace(0.001, 0.999, 80 * n + 1)
        ax.plot(u, law.icdf(u))
        ax.set(xlabel="u", ylabel=name)
        ax.yaxis.get_major_locator().set_params(integer=True)

    return draw


CORNERS = numpy.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])


def triangle(ax: Axes, points: numpy.ndarray, title: str, **style: Any) -> None:
    """Points of the simplex, three numbers ≥ 0 that sum to 1, in a triangle whose corners are the one-hot vectors."""
    ax.plot(*numpy.vstack([CORNERS, CORNERS[:1]]).T, color="0.7", linewidth=0.8)
    ax.plot(*(points @ CORNERS).T, "o", **{"markersize": 1.5, "color": "C0", "alpha": 0.6, **style})
    ax.set(title=title, aspect="equal")
    ax.set_axis_off()


def triangles(laws: dict[str, d.Distribution]) -> Drawing:
    """Draws of laws on the simplex, one triangle each."""

    def draw(figure: Figure, n: int) -> None:
        for ax, (title, law) in zip(figure.subplots(1, len(laws)), laws.items(), strict=True):
            triangle(ax, law.sample(15 * n, rng=0), title)

    return draw


def one_hot(figure: Figure, n: int) -> None:
    """Draws are corners, as large as they are frequent; their mean is a point inside."""
    ax, beside = figure.subplots(1, 2)
    law = d.OneHotCategorical(probs=WEIGHTS[:3])
    draws = law.sample(15 * n, rng=0)
    triangle(ax, law.mean[None], "", color="C3", markersize=4)
    for corner, share in zip(CORNERS, draws.mean(axis=0), strict=True):
        ax.plot(*corner, "o", markersize=20 * share**0.5, color="C0", clip_on=False)
    inverse(d.Categorical(probs=WEIGHTS[:3]), "the element that is 1")(beside, n)


def point_mass(ax: Axes, _: int) -> None:
    """All of the probability at one point."""
    ax.vlines([0.7], 0.0, 1.0)
    ax.plot([0.7], [1.0], "o")
    ax.set(xlabel="x", ylabel="p(x)", xlim=(-2, 2), ylim=(0, 1.1))


def identity(ax: Axes, _: int) -> None:
    """A draw is the parameter."""
    v = numpy.linspace(-2.0, 2.0, 9)
    ax.plot(v, d.Delta(v).sample(rng=0), "o-", markersize=2, color="C3")
    ax.set(xlabel="v", ylabel="x")


def grid(n: int, low: float = -4.0, high: float = 4.0) -> tuple[numpy.ndarray, numpy.ndarray]:
    """A square of points, (m, m, 2), and the coordinates along its edge."""
    edge = numpy.linspace(low, high, 5 * n + 1)
    return numpy.stack(numpy.meshgrid(edge, edge), axis=-1), edge


def contours(ax: Axes, law: d.Distribution, n: int) -> None:
    """The density in the plane."""
    x, edge = grid(n)
    ax.contour(edge, edge, numpy.exp(law.log_prob(x)), levels=5, linewidths=0.8)
    ax.set(aspect="equal", xlabel="x₀", ylabel="x₁")


def independent(figure: Figure, n: int) -> None:
    """The same law for each element, and the normal law beside it: only of that is the product round."""
    for ax, base in zip(figure.subplots(1, 2), (d.Laplace, d.Normal), strict=True):
        contours(ax, d.Independent(base(numpy.zeros(2), numpy.array([1.0, 1.0])), 1), n)
        ax.set_title(f"Independent({base.__name__}(0, 1), 1)")


def multivariate_normal(figure: Figure, n: int) -> None:
    """Contours and draws; and where the same ε takes a draw when L changes."""
    ax, beside = figure.subplots(1, 2)
    law, other = (
        d.MultivariateNormal(numpy.zeros(2), scale_tril=numpy.array(L))
        for L in ([[1.4, 0.0], [1.0, 0.6]], [[1.4, 0.0], [-0.2, 1.0]])
    )
    x, moved = (each.sample(4 * n, rng=0) for each in (law, other))
    plot.ellipse(ax, law.loc, law.covariance_matrix, color="C0")
    ax.plot(*x.T, "o", markersize=2, color="C3")
    ax.set(aspect="equal", xlabel="x₀", ylabel="x₁", title="1 and 2 deviations, and draws")
    beside.quiver(*x.T, *(moved - x).T, angles="xy", scale_units="xy", scale=1, width=0.004, color="C3")
    plot.ellipse(beside, other.loc, other.covariance_matrix, color="C1")
    beside.set(aspect="equal", xlabel="x₀", title="the same ε, another L")


def low_rank(figure: Figure, n: int) -> None:
    """A covariance of 30 × 30 numbers that is made of 30 × 3; draws that two factors move, and noise roughens."""
    ax, beside = figure.subplots(1, 2)
    t = numpy.linspace(0.0, 1.0, 30)
    W = numpy.stack([numpy.sin(2 * numpy.pi * t), numpy.cos(2 * numpy.pi * t)], axis=-1)
    law = d.LowRankMultivariateNormal(numpy.zeros(30), W, numpy.full(30, 0.05))
    ax.pcolormesh(law.covariance_matrix, cmap="RdBu_r", vmin=-1.1, vmax=1.1, rasterized=True)
    ax.set(aspect="equal", title="Σ = W Wᵀ + diag δ,  R = 2")
    ax.invert_yaxis()
    beside.plot(t, law.sample(max(2, n // 4), rng=0).T, linewidth=0.8)
    beside.set(xlabel="element d / D", ylabel="x_d")


def transformed(figure: Figure, n: int) -> None:
    """A density below, a bijection, and the density that it makes, at the left."""
    ax, beside = figure.subplots(1, 2)
    base, squash = d.Normal(0.5, 1.2), d.SigmoidTransform()
    law = d.Transformed(base, squash)
    x = numpy.linspace(-4.0, 4.5, 20 * n + 1)
    y = squash(x)
    ax.plot(x, y, color="0.3")
    ax.fill_between(x, 0.0, numpy.exp(base.log_prob(x)), color="C0", alpha=0.4, linewidth=0)
    ax.fill_betweenx(y, -4.0, -4.0 + numpy.exp(law.log_prob(y)), color="C1", alpha=0.5, linewidth=0)
    ax.set(xlabel="x ~ Normal(0.5, 1.2)", ylabel="y = σ(x)", xlim=(-4, 4.5), ylim=(0, 1))
    locs = numpy.linspace(-3.0, 3.0, 10 * n + 1)
    movement(beside, lambda loc: d.Transformed(d.Normal(loc, 1.2), squash), locs, "μ", n)
    beside.set_ylabel("y")


def two_components(weight: Any) -> d.Distribution:
    """A mixture of two normal laws, the second with this weight."""
    weight = numpy.asarray(weight) if not hasattr(weight, "tape") else weight
    weights = np.stack([1.0 - weight, weight], axis=-1)
    components = d.Normal(np.array([-1.5, 2.0]), np.array([1.0, 0.6]))
    return d.MixtureSameFamily(d.Categorical(probs=weights), components.expand((*np.shape(weight), 2)))


def mixture(figure: Figure, n: int) -> None:
    """Components and what they add up to; and how a draw moves as weight goes from one to the other."""
    ax, beside = figure.subplots(1, 2)
    x = numpy.linspace(-5.0, 5.0, 20 * n + 1)
    law = two_components(0.4)
    for weight, loc, scale in [(0.6, -1.5, 1.0), (0.4, 2.0, 0.6)]:
        ax.plot(x, weight * numpy.exp(d.Normal(loc, scale).log_prob(x)), "--", linewidth=0.8)
    ax.plot(x, numpy.exp(law.log_prob(x)), color="0.3")
    ax.set(xlabel="x", ylabel="p(x)", ylim=(0, None))
    weights = numpy.linspace(0.05, 0.95, 10 * n + 1)
    p = two_components(weights).cdf(x[:, None])
    beside.contour(weights, x, p, levels=QUANTILES, colors="0.7", linewidths=0.8)
    at = numpy.repeat(numpy.linspace(0.05, 0.95, 9)[1:-1], max(1, n // 7))
    z = two_components(at).sample(rng=0)
    slope = grad(lambda at: np.sum(two_components(at).rsample(rng=0)))(at)
    beside.plot(at, z, "o", markersize=2, color="C3")
    beside.plot([at - 0.02, at + 0.02], [z - 0.02 * slope, z + 0.02 * slope], color="C3", linewidth=1)
    beside.set(xlabel="weight of the second", ylabel="x", ylim=(-4.5, 4.5))


# All of them ----------------------------------------------------------------------------------------------------------

DRAWINGS: dict[str, Drawing] = {
    "bernoulli": two(log_likelihoods, jumping_bits),
    "beta": continuous(
        {f"Beta({a:g}, {b:g})": d.Beta(a, b) for a, b in [(0.7, 0.7), (2.0, 2.0), (8.0, 3.0)]},
        (0.005, 0.995), lambda a: d.Beta(a, 2.0), (0.3, 5.0), "concentration1",
    ),
    "binomial": of_counts(
        {f"p = {p}": d.Binomial(12, p) for p in (0.1, 0.5, 0.8)}, 12, lambda p: d.Binomial(12, p), (0.02, 0.98), "p"
    ),
    "categorical": two(labels, inverse(d.Categorical(probs=WEIGHTS), "z")),
    "delta": two(point_mass, identity),
    "dirichlet": triangles({f"α = {a}": d.Dirichlet(a) for a in ([0.4, 0.4, 0.4], [1.0, 1.0, 1.0], [6.0, 3.0, 2.0])}),
    "discrete_uniform": two(dice, inverse(d.DiscreteUniform(1, 6), "x")),
    "discretized_logistic": of_counts(
        {f"μ = {m:g}, s = {s:g}": d.DiscretizedLogistic(m, s, 0, 15) for m, s in [(6.0, 1.5), (13.5, 1.0)]},
        15, lambda m: d.DiscretizedLogistic(m, 1.5, 0, 15), (-2.0, 17.0), "μ",
    ),
    "exponential": continuous(
        {f"λ = {rate:g}": d.Exponential(rate) for rate in (0.5, 1.0, 2.0)}, (0.0, 5.0), d.Exponential, (0.4, 3.0), "λ"
    ),
    "gamma": continuous(
        {f"α = {a:g}, β = {b:g}": d.Gamma(a, b) for a, b in [(0.8, 1.0), (2.0, 1.0), (9.0, 3.0)]},
        (0.02, 8.0), lambda a: d.Gamma(a, 1.0), (0.2, 6.0), "α",
    ),
    "gumbel": continuous(
        {f"μ = {m:g}, β = {b:g}": d.Gumbel(m, b) for m, b in [(0.0, 1.0), (0.0, 2.0), (3.0, 0.7)]},
        (-5.0, 9.0), lambda b: d.Gumbel(0.0, b), (0.2, 3.0), "β",
    ),
    "independent": independent,
    "laplace": continuous(
        {f"μ = {m:g}, b = {b:g}": d.Laplace(m, b) for m, b in [(0.0, 1.0), (0.0, 2.0), (3.0, 0.5)]},
        (-6.0, 6.0), lambda b: d.Laplace(0.0, b), (0.2, 3.0), "b",
    ),
    "log_normal": continuous(
        {f"μ = {m:g}, σ = {s:g}": d.LogNormal(m, s) for m, s in [(0.0, 0.5), (0.0, 1.0), (1.0, 0.25)]},
        (0.01, 6.0), lambda s: d.LogNormal(0.0, s), (0.1, 1.2), "σ",
    ),
    "low_rank_multivariate_normal": low_rank,
    "mixture_same_family": mixture,
    "multivariate_normal": multivariate_normal,
    "normal": continuous(
        {f"μ = {m:g}, σ = {s:g}": d.Normal(m, s) for m, s in [(0.0, 1.0), (0.0, 2.0), (3.0, 0.5)]},
        (-6.0, 6.0), lambda s: d.Normal(0.0, s), (0.2, 3.0), "σ",
    ),
    "one_hot_categorical": one_hot,
    "poisson": of_counts(
        {f"λ = {rate:g}": d.Poisson(rate) for rate in (0.8, 3.0, 9.0)}, 16, d.Poisson, (0.1, 12.0), "λ"
    ),
    "relaxed_bernoulli": continuous(
        {f"t = {t:g}": d.RelaxedBernoulli(t, logits=0.5) for t in (0.2, 0.6, 2.0)},
        (0.005, 0.995), lambda a: d.RelaxedBernoulli(0.4, logits=a), (-4.0, 4.0), "logit a",
    ),
    "relaxed_one_hot_categorical": triangles(
        {f"t = {t:g}": d.RelaxedOneHotCategorical(t, probs=WEIGHTS[:3]) for t in (0.1, 0.6, 2.0)}
    ),
    "student_t": continuous(
        {f"ν = {v:g}": d.StudentT(v) for v in (1.0, 3.0, 30.0)}, (-6.0, 6.0), d.StudentT, (0.8, 8.0), "ν"
    ),
    "transformed": transformed,
    "uniform": continuous(
        {f"{a:g} … {b:g}": d.Uniform(a, b) for a, b in [(0.0, 1.0), (-1.0, 3.0)]},
        (-2.0, 4.0), lambda high: d.Uniform(0.0, high), (0.2, 4.0), "b",
    ),
}  # fmt: skip


def draw(name: str, folder: Path, n: int = 14) -> Path:
    """Draw one picture and return its file; `n` is about how many points and draws."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 2.4), layout="constrained")
        DRAWINGS[name](figure, n)
        picture = io.BytesIO()
        figure.savefig(picture, dpi=130)
    path = folder / f"{name}.png"
    Image.open(picture).convert("RGB").quantize(32).save(path, optimize=True)  # 32 colours: a third of the size
    return path


def main(arguments: Sequence[str]) -> None:
    """Draw all of them."""
    folder = Path(arguments[0]) if arguments else PICTURES
    folder.mkdir(exist_ok=True)
    for name in DRAWINGS:
        path = draw(name, folder)
        print(f"{path}: {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
