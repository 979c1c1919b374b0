# %% [markdown]
# # 4. Two gradients
#
# To climb a bound by its slope in the parameters φ of `q`, one differentiates an average through the very law that
# is averaged over. There are two ways. The first moves the *probabilities*, and asks for nothing but values of `r`:
#
#     ∇ E_q [r(z)] = E_q [r(z) ∇ log q(z; φ)]              the score function, or REINFORCE        (N12, r free of φ)
#
# The second moves the *draws*. If z = g(ε; φ), where ε has a fixed law (z = μ + σ ε for a Gaussian),
#
#     ∇ E_q [r(z)] = E_ε [∇ r(g(ε; φ))]                    reparameterisation                      (N13, r free of φ)
#
# Both are right on average. What they cost is the subject of this chapter.

# %%
"""Chapter 4: the score function and reparameterisation, their variances measured (N12, N13)."""

import course
import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from minilvm.autograd import grad
from minilvm.backend import Array
from minilvm.distributions import Normal
from minilvm.estimators import CONTRACTS, Rebar, expectation
from minilvm.inference import Adam
from minilvm.models import SigmoidBeliefNetwork, factorised_bernoulli
from minilvm.testing import Quadrature, uniform_rule

quick = course.quick()
course.chapter("4. Two gradients: of E[(z − a)²] under N(μ, σ²), μ − a = 1, σ = 0.5; then of an ELBO")

# %% [markdown]
# ## A problem with answers
#
# Let r(z) = (z − a)² and q = N(μ, σ²), and write d = μ − a. Then E_q [r] = d² + σ², so the gradient is 2d in μ and
# 2σ² in log σ, and since Gaussian moments are known, so are the *variances* of both estimators from one draw
# (docs/notes.md, 5.4):
#
# |           | score function                 | reparameterised |
# |-----------|--------------------------------|-----------------|
# | in μ      | d⁴/σ² + 14 d² + 15 σ²          | 4 σ²            |
# | in log σ  | 2 d⁴ + 60 d² σ² + 74 σ⁴        | 4 d² σ² + 8 σ⁴  |
#
# Anything that does not depend on the draw may be subtracted from `r` without changing the mean of N12, because the
# score ∇ log q has mean zero. With K draws, subtract from each r_k the mean of the *others*: the leave-one-out
# baseline. What is left is the sample covariance of `r` and the score, whose variance for any K is a textbook
# formula:
#
#     Var = m/K − (K − 2) c² / (K (K − 1)) + v s / (K (K − 1)),
#
# with c the covariance of `r` and the score (the gradient), v = Var r, s = Var score and m = E [(r − E r)² score²].

# %%
d, sigma = 1.0, 0.5
exact = np.array([2 * d, 2 * sigma**2])  # in μ, in log σ
one_draw = {
    "score function": np.array(
        [d**4 / sigma**2 + 14 * d**2 + 15 * sigma**2, 2 * d**4 + 60 * d**2 * sigma**2 + 74 * sigma**4]
    ),
    "reparameterised": np.array([4 * sigma**2, 4 * d**2 * sigma**2 + 8 * sigma**4]),
}
v, s = 4 * d**2 * sigma**2 + 2 * sigma**4, np.array([1 / sigma**2, 2.0])
m = np.array([12 * d**2 + 10 * sigma**2, 40 * d**2 * sigma**2 + 60 * sigma**4])  # for each score


def closed_form(name: str, K: int) -> Array:
    """Variances of the estimators from K draws, in μ and in log σ."""
    if name != "with baseline":
        return one_draw[name] / K
    return m / K - (K - 2) * exact**2 / (K * (K - 1)) + v * s / (K * (K - 1))


# %% [markdown]
# `expectation` returns the Monte Carlo mean of r(z), with the gradient of the estimator that one names. Here it is
# asked for many independent estimates at once: as many copies of (μ, log σ), differentiated together. (Let a = 0,
# so that μ = d.)

# %%
rng = np.random.default_rng(0)
n_estimates = 5_000 if quick else 50_000
grid = [2, 5, 10, 20, 50, 100]
copies = np.repeat([[d], [np.log(sigma)]], n_estimates, axis=1)  # (2, n_estimates)

options = {
    "score function": {"estimator": "score_function"},
    "with baseline": {"estimator": "score_function", "baseline": "leave_one_out"},
    "reparameterised": {"estimator": "reparameterization"},
}


def estimates(name: str, K: int) -> Array:
    """Independent estimates of the gradient, (2, n_estimates), each from K draws."""

    def total(phi: Array) -> Array:
        q = Normal(phi[0], np.exp(phi[1]))
        return expectation(lambda z: z**2, q, K, rng=rng, **options[name]).sum()

    return grad(total)(copies)


variances, at_ten = {}, {}
for name in tqdm(options, desc="estimating gradients"):
    gradients = {K: estimates(name, K) for K in grid}
    variances[name] = np.array([gradients[K].var(axis=1) for K in grid])  # (len(grid), 2)
    at_ten[name] = gradients[10]

# %% [markdown]
# ## The numbers
#
# Ten draws each. All three are right on average; the reparameterised one is twenty times quieter in μ than the
# score function, and the baseline, which costs nothing, goes part of the way.

# %%
for p, parameter in enumerate(("μ", "log σ")):
    for name in options:
        measured, expected = variances[name][grid.index(10), p], closed_form(name, 10)[p]
        holds = abs(measured / expected - 1) < 0.2 and abs(at_ten[name][p].mean() - exact[p]) < 5 * np.sqrt(
            expected / n_estimates
        )
        course.report(
            f"variance in {parameter}, {name}", f"{measured:.4f}", f"{expected:.4f}  in closed form", holds=holds
        )

# %% [markdown]
# ## Where only one of them applies
#
# A bit does not move when its probability does, until it flips: there is nothing to differentiate, and `rsample`
# says so.

# %%
network_rng = np.random.default_rng(2)
model = SigmoidBeliefNetwork.random(n_latents=10, n_features=20, rng=network_rng)
x, _ = model.sample(1, rng=network_rng)  # that of chapters 2 and 3

try:
    factorised_bernoulli(np.zeros((1, 10))).rsample(rng=rng)
except TypeError as error:
    print(f"  {str(error).partition('. ')[0]}.")

# %% [markdown]
# The score function does not mind. The ELBO of chapter 3 has an exact gradient, by enumeration, to hold it against.
# The integrand log p(x, z) − log q(z; φ) now depends on φ itself, which adds E_q [∇ r] to N12: zero on average
# here, since ∇ r is minus the score. We compare one step first, and then the whole climb.

# %%


def bound(logits: Array, **how: object) -> Array:
    """The ELBO of each row of logits, with the gradient of the estimator that `how` describes."""
    q = factorised_bernoulli(logits)
    data = np.repeat(x, len(logits), axis=0)
    return expectation(lambda z: model.log_joint(data, z) - q.log_prob(z), q, **how)


K = 10
by_enumeration = {"estimator": "exact"}
discrete = {name: {**options[name], "n_samples": K, "rng": rng} for name in ("score function", "with baseline")}

exact_gradient = grad(lambda a: bound(a, **by_enumeration).sum())(np.zeros((1, 10)))[0]
n_copies = 1_000 if quick else 10_000
for name, how in discrete.items():
    rows = grad(lambda a, how=how: bound(a, **how).sum())(np.zeros((n_copies, 10)))
    off = np.max(np.abs(rows.mean(axis=0) - exact_gradient) / rows.std(axis=0)) * np.sqrt(n_copies)
    total = rows.var(axis=0).sum()
    course.report(
        f"10 bits: total variance, {name}",
        f"{total:.1f}",
        f"mean within {off:.1f} standard errors of exact",
        holds=off < 5,
    )

# %%
n_runs, n_steps, every = (5, 100, 10) if quick else (20, 300, 10)
climbs = {}
for name, how in {"exact gradient": by_enumeration, **discrete}.items():
    optimizer, logits = Adam(lr=0.1), np.zeros((1 if name == "exact gradient" else n_runs, 10))
    state, curve = optimizer.init(logits), []
    for step in tqdm(range(n_steps + 1), desc=f"climbing: {name}"):
        if step % every == 0:
            curve.append(bound(logits, **by_enumeration))  # where it really is, whatever it was told
        slope = grad(lambda a, how=how: -bound(a, **how).sum())(logits)
        logits, state = optimizer.step(logits, slope, state)
    climbs[name] = np.array(curve)  # (n_steps / every + 1, n_runs)

# %% [markdown]
# ## Every other way, and what each costs
#
# Thirty years of papers make N12 quieter for bits. They differ in what they ask for: other draws (leave one out), a
# mirror image of each draw (ARM, DisARM), each bit set to 0 and to 1 (measure-valued), or a slope of `r` between the
# bits, used as a control variate (REBAR), or used as it is, with a bias (straight-through, Gumbel-softmax).
#
# With three bits there is nothing to sample. Everything that an estimator draws is a few uniform numbers; let a
# generator hand out all of their pieces at once, each with its probability, and mean and variance of the gradient are
# sums. What cuts a uniform into pieces is p (a bit is 1 where u < p), and 1 − p for the mirror image; REBAR's second
# uniform has no edge, and Gauss's rule takes care of it.

# %%
net_rng = np.random.default_rng(5)
network = SigmoidBeliefNetwork.random(n_latents=3, n_features=10, rng=net_rng)
seen, _ = network.sample(1, rng=net_rng)
phi = np.array([0.5, -1.0, 0.2])
p = 1 / (1 + np.exp(-phi))


def bound_of_three(logits: Array, **how: object) -> Array:
    """The ELBO of each row of three logits, with the gradient of the estimator that `how` describes."""
    q = factorised_bernoulli(logits)
    data = np.repeat(seen, len(logits), axis=0)
    return expectation(lambda z: network.log_joint(data, z) - q.log_prob(z), q, **how)


def bias_and_variance(rules: list, **how: object) -> tuple[Array, float]:
    """Bias of the gradient, and its variance summed over φ: over all draws, each with its probability."""
    draws = Quadrature(rules)
    copies = np.tile(phi, (len(draws.probability), 1))
    rows = grad(lambda a: bound_of_three(a, rng=draws, **how).sum())(copies)
    mean = draws.probability @ rows
    return mean - of_three, float(draws.probability @ ((rows - mean) ** 2).sum(axis=1))


of_three = grad(lambda a: bound_of_three(a, estimator="exact").sum())(phi[None])[0]
bit = [uniform_rule(1, cuts=[p_l]) for p_l in p]
pair = [uniform_rule(2, cuts=[p_l, 1 - p_l]) for p_l in p]
smooth = [uniform_rule(12)] * 3
few = (2, 3) if quick else (2, 3, 4, 5)

one_estimate = {  # draws K, evaluations of r, bias and variance, where more draws only average
    "score_function": (1, 1, bias_and_variance(bit, estimator="score_function")),
    "arm": (2, 2, bias_and_variance(pair, n_samples=2, estimator="arm")),
    "disarm": (2, 2, bias_and_variance(pair, n_samples=2, estimator="disarm")),
    "measure_valued": (1, 7, bias_and_variance(bit, estimator="measure_valued")),
    "rebar": (1, 2, bias_and_variance(bit + smooth, estimator=Rebar(temperature=1.0))),
    "straight_through": (1, 1, bias_and_variance(bit, estimator="straight_through")),
    "gumbel_softmax": (1, 2, bias_and_variance(bit + smooth, estimator="gumbel_softmax")),
}
left_out = {
    K: bias_and_variance(bit * K, n_samples=K, estimator="score_function", baseline="leave_one_out") for K in few
}

unbiased = {name: one for name, one in one_estimate.items() if CONTRACTS[name].gradient == "unbiased"}
largest = max(np.abs(bias).max() for *_, (bias, _) in [*unbiased.values(), *((0, one) for one in left_out.values())])
course.report("3 bits: largest bias of the unbiased", f"{largest:.0e}", "0, over all draws", holds=largest < 1e-9)
for name in ("straight_through", "gumbel_softmax"):
    bias = np.abs(one_estimate[name][2][0]).max()
    course.report(f"3 bits: largest bias, {name}", f"{bias:.2f}", "> 0: declared biased", holds=bias > 1e-3)
cost_times_noise = {
    **{name: evaluations * variance for name, (_, evaluations, (_, variance)) in unbiased.items()},
    "leave_one_out": 2 * left_out[2][1],
}
for name, product in sorted(cost_times_noise.items(), key=lambda item: -item[1]):
    plain = cost_times_noise["score_function"]
    expected = "exact, as all below" if name == "score_function" else f"≤ {plain:.2f}, score function"
    course.report(f"3 bits: variance × evaluations, {name}", f"{product:.2f}", expected, holds=product <= plain)

# %% [markdown]
# ## The picture

# %%
fig, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.8))
colours = dict(zip(options, (course.RED, course.ORANGE, course.BLUE), strict=True))

parts = left.violinplot([at_ten[name][0] for name in options], showextrema=False, widths=0.8)
for body, colour in zip(parts["bodies"], colours.values(), strict=True):
    body.set(facecolor=colour, alpha=0.6)
left.axhline(exact[0], color="black", ls="--", lw=1.2, label=f"exact: {exact[0]:g}")
left.set(xticks=[1, 2, 3], xticklabels=list(options), ylabel="estimated gradient in μ, K = 10", ylim=(-2, 8))
left.legend(loc="upper right")
left.set_title("Same mean, not the same noise")

for name, colour in colours.items():
    middle.plot(grid, variances[name][:, 0], "o", color=colour)
    middle.plot(grid, [closed_form(name, k)[0] for k in grid], color=colour, label=name)
middle.set(xscale="log", yscale="log", xlabel="draws K", ylabel="variance of the gradient in μ")
middle.set_xticks(grid, grid)
middle.minorticks_off()
middle.set_title("Variance falls as 1/K, with a baseline faster\n(dots: measured; lines: closed form)")
middle.legend()

for name, colour in zip(climbs, (course.BLACK, course.RED, course.ORANGE), strict=True):
    low, median, high = np.quantile(climbs[name], (0.05, 0.5, 0.95), axis=1)
    steps = every * np.arange(len(median))
    right.fill_between(steps, low, high, color=colour, alpha=0.2, lw=0)
    right.plot(steps, median, color=colour, label=name)
right.set(xlabel="step of Adam", ylabel="ELBO, nats (exact value)")
right.set_title(f"Bits have only the score function\n(K = {K}; median and 5% to 95% of {n_runs} runs)")
right.legend(loc="lower right")

course.save(fig, "04_two_gradients")

# %% [markdown]
# ## The frontier
#
# More draws buy less noise, in proportion, for all but the leave-one-out baseline, which gains twice: every further
# draw is averaged over *and* makes the baseline better. A bias is not for sale: the error of a biased estimator stops
# falling where it reaches it. Which is the best depends on the price of one evaluation of `r`, and on `r`; with three
# bits eight evaluations are the exact gradient.

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4.8), sharey=True)
budget = 2 ** np.arange(10)
palette = [course.RED, course.PURPLE, course.BLUE, course.GREEN, course.ORANGE, course.SKY, course.BLACK]
for (name, (_, evaluations, (bias, variance))), colour in zip(one_estimate.items(), palette, strict=True):
    affordable = budget[budget >= evaluations]
    error = (bias**2).sum() + variance * evaluations / affordable
    panel, style = (left, "o-") if name in unbiased else (right, "o--")
    panel.plot(affordable, error, style, ms=4, color=colour, label=name)
    if name not in unbiased:
        right.axhline((bias**2).sum(), color=colour, lw=0.8, ls=":")
left.plot(
    list(left_out), [variance for _, variance in left_out.values()], "s-", ms=5, color="grey", label="leave_one_out"
)
right.plot(budget, cost_times_noise["score_function"] / budget, color=course.RED, lw=0.8, label="score_function")
left.axvline(2**3, color="black", lw=0.8, ls=":")
left.annotate("exact", (2**3, 0), (3, 6), textcoords="offset points", xycoords=("data", "axes fraction"))
for panel, title in (
    (left, "Unbiased: noise falls as 1/evaluations, or faster"),
    (right, "Biased: the error ends at bias²"),
):
    panel.set(xscale="log", yscale="log", xlabel="evaluations of r")
    panel.set_xticks(budget, budget)
    panel.minorticks_off()
    panel.set_title(title)
    panel.legend(loc="upper right", fontsize=9)
left.set_ylabel("expected squared error of ∇ELBO")
course.save(fig, "04_the_frontier")

# %% [markdown]
# ## What this simplified
#
# - The order is not a law. For r(z) = sin ωz with a large ω the score function is the quieter: it sees how large
#   `r` is, the path how steep.
# - The leave-one-out baseline is a constant for each draw. Baselines that depend on `x`, learned with the guide, do
#   better where data differ; `expectation` takes them.
# - λ and η of REBAR are fixed here. They can be learned, as the mean of the gradient does not depend on them: go down
#   the slope of its square.
# - Bits can be relaxed to numbers between 0 and 1, which move. That is another model, and its bound is not a bound
#   for bits.
