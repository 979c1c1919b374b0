# %% [markdown]
# # 3. The bound
#
# Chapter 2 estimated p(x) as the mean of weights w = p(x, z) / q(z), with `z` drawn from `q`. The logarithm of that
# mean is what we want; the mean of the logarithm is what we can climb. Jensen's inequality says which is the
# larger:
#
#     log p(x) = log E_q [w] ≥ E_q [log w] = E_q [log p(x, z)] + H(q) = ELBO                                 (N7, N8)
#
# and three lines of algebra say by how much:
#
#     log p(x) = ELBO + KL(q(z) ‖ p(z | x))                                                                      (N9)
#
# The left side has no `q` in it. So whoever raises the ELBO lowers the divergence: a tighter bound and a better
# approximate posterior are the same thing. The model is that of chapter 2, so that everything can be checked by
# enumeration.

# %%
"""Chapter 3: bounds on log p(x), from below and from above (N7, N8, N9, N17, N18; annealing)."""

import course
import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from minilvm.autograd import grad
from minilvm.backend import Array
from minilvm.distributions import Distribution
from minilvm.estimators import (
    bidirectional_monte_carlo,
    exact_log_marginal,
    expectation,
    explain,
    iwae,
    log_weights,
    weigh,
)
from minilvm.inference import Adam
from minilvm.models import SigmoidBeliefNetwork, factorised_bernoulli

quick = course.quick()
course.chapter("3. The bound: the same network, log p(x) from below and from above")

rng = np.random.default_rng(2)
model = SigmoidBeliefNetwork.random(n_latents=10, n_features=20, rng=rng)
x, _ = model.sample(1, rng=rng)  # (1, 20): the observation of chapter 2

exact = float(exact_log_marginal(model, x)[0])
states = model.prior.enumerate_support()[:, None]  # (1024, 1, 10): every z
log_posterior = model.posterior(x).log_prob(states)  # (1024, 1): log p(z | x)

# %% [markdown]
# ## Climbing
#
# Our `q` says of each of the ten causes how likely it is to be on, independently of the others: ten logits. The
# ELBO is an average over `q`; with 1024 states the average can be done exactly, and so can its gradient. (Chapter 4
# samples both.)

# %%


def bound(logits: Array) -> Array:
    """E_q [log p(x, z) − log q(z)], by enumeration."""
    q = factorised_bernoulli(logits)
    return expectation(lambda z: model.log_joint(x, z) - q.log_prob(z), q, estimator="exact").sum()


def divergence(q: Distribution) -> float:
    """KL(q ‖ p(z | x)), by enumeration."""
    return float(np.sum(np.exp(q.log_prob(states)) * (q.log_prob(states) - log_posterior)))


logits = np.zeros((1, 10))  # the uniform q, which knows neither x nor the model
optimizer = Adam(lr=0.5)
state = optimizer.init(logits)
n_climbed, climb = 500, [logits]
for _ in tqdm(range(n_climbed), desc="climbing the ELBO"):
    slope = grad(lambda a: -bound(a))(logits)
    logits, state = optimizer.step(logits, slope, state)
    climb.append(logits)
q = factorised_bernoulli(logits)
steepest = np.abs(grad(bound)(logits)).max()

# %% [markdown]
# ## The gap is the divergence
#
# ELBO and KL are two different sums over the 1024 states. That they add up to log p(x) is N9; that they do so to
# fifteen digits, for every `q` on the way up, is how a law looks that is not an approximation.

# %%
elbos = np.array([bound(a) for a in climb])
divergences = np.array([divergence(factorised_bernoulli(a)) for a in climb])
gap = np.abs(elbos + divergences - exact).max()

course.report("log p(x), by enumeration, nats", f"{exact:.4f}")
course.report("ELBO of the best independent q", f"{elbos[-1]:.4f}", "≤ log p(x)", holds=elbos[-1] <= exact)
course.report("largest slope at the end", f"{steepest:.1g}", "0: a stationary point", holds=steepest < 1e-4)
course.report("KL(q ‖ p(z | x))", f"{divergences[-1]:.4f}", f"{exact - elbos[-1]:.4f}  the gap (N9)", holds=gap < 1e-12)
course.report("largest error of ELBO + KL = log p(x)", f"{gap:.1g}", "0, for every q on the way", holds=gap < 1e-12)

# %% [markdown]
# `explain` writes the same for any model and `q`, with the slack at every inequality: here for the `q` that we began
# with, and for the one that we ended with.

# %%
for when, law in (("start", factorised_bernoulli(climb[0])), ("end", q)):
    print(f"  q at the {when}:\n{explain(model, law, x)}")

# %% [markdown]
# At the exact posterior the bound is tight in the strongest sense: not on average but in every draw, because w =
# p(x, z) / p(z | x) = p(x) whatever `z` is.

# %%
log_w = log_weights(model, model.posterior(x), x, 1000, rng=rng)
spread = float(np.ptp(log_w))
course.report(
    "spread of log w when q is the posterior", f"{spread:.1g}", "0: every draw is log p(x)", holds=spread < 1e-12
)

# %% [markdown]
# ## More draws, a tighter bound
#
# Average K weights *before* taking the logarithm, and Jensen has less to take away:
#
#     L_K = E [log (1/K) Σ_k w_k],    ELBO = L_1 ≤ L_2 ≤ … ≤ log p(x)                                           (N17)
#
# From above it takes a draw from the posterior, which we have here:
#
#     log p(x) ≤ EUBO = E_{p(z | x)} [log w]                                                                    (N18)
#
# And if only one of K draws is from the posterior, and the others from `q`, the mean of log (1/K) Σ_k w_k is an
# upper bound that comes down as K grows. The truth is between them.

# %%
n_repetitions = 4_000 if quick else 40_000
at_once = 2_000
grid = [1, 2, 5, 10, 50]

below, above = [], []
for _ in tqdm(range(n_repetitions // at_once), desc="sampling the bounds"):
    log_w = log_weights(model, q.expand((at_once,)), np.repeat(x, at_once, axis=0), grid[-1], rng=rng)  # (50, at_once)
    below.append([iwae(log_w[:k]) for k in grid])
    z = model.posterior(x).sample((at_once,), rng=rng)
    log_w[0] = weigh(model, q, x, z)[:, 0]  # one draw from the posterior
    above.append([iwae(log_w[:k]) for k in grid])
below, above = np.concatenate(below, axis=1), np.concatenate(above, axis=1)  # (len(grid), n_repetitions)

lower, lower_error = below.mean(axis=1), below.std(axis=1) / np.sqrt(n_repetitions)
upper, upper_error = above.mean(axis=1), above.std(axis=1) / np.sqrt(n_repetitions)

exact_eubo = float(np.sum(np.exp(log_posterior) * (model.log_joint(x, states) - q.log_prob(states))))

for k, value, error in zip(grid, lower, lower_error, strict=True):
    name = "ELBO, sampled" if k == 1 else f"IWAE, K = {k}"
    expected = f"{elbos[-1]:.4f}  exact ELBO" if k == 1 else f"≤ {exact:.4f}  log p(x)"
    holds = abs(value - elbos[-1]) < 5 * error if k == 1 else value < exact + 5 * error
    course.report(name, f"{value:.4f} ± {error:.4f}", expected, holds=holds)
course.report(
    "EUBO, sampled",
    f"{upper[0]:.4f} ± {upper_error[0]:.4f}",
    f"{exact_eubo:.4f}  exact EUBO",
    holds=abs(upper[0] - exact_eubo) < 5 * upper_error[0],
)
course.report(
    f"upper bound, K = {grid[-1]}",
    f"{upper[-1]:.4f} ± {upper_error[-1]:.4f}",
    f"≥ {exact:.4f}  log p(x)",
    holds=upper[-1] > exact - 5 * upper_error[-1],
)

# %% [markdown]
# ## A path to the posterior
#
# The other way to a tighter bound is a better `q`, and it need not be found by climbing. *Annealed importance sampling*
# starts from any `q`, here the prior, which knows nothing of `x`, and walks every draw towards the posterior in T steps
# of β, through the laws
#
#     π_β(z) ∝ p(z)^(1−β) p(x, z)^β = p(z) p(x | z)^β,    β from 0 to 1
#
# Before each step in β but the first it redraws the bits, one by one given the others, and each step multiplies the
# weight by w(z)^(β_t − β_{t−1}) (docs/notes.md, 8.5). Steps are short at first: β_t = (t/T)⁴.
#
# Such a weight has mean p(x) again, so the mean of its logarithm is a lower bound. Of a walk *backwards*, from a draw
# of the posterior, 1/w has mean 1/p(x), so by Jensen E[log w] ≥ log p(x). With T = 1 the two are the prior's ELBO and
# EUBO. Even with K = 1 both tighten as T grows.
#
# That is not free: a walk weighs T times, and redraws all bits T − 1 times. Here T = 100, at more than a hundred times
# the cost of one draw, is no tighter than IWAE with a few draws from a good `q`. But it needs no good `q`.

# %%
n_walks = 50 if quick else 400
lengths = [1, 3, 10, 30] if quick else [1, 3, 10, 30, 100]  # T

walked = []
for T in tqdm(lengths, desc="walking"):
    ends = model.posterior(x).sample((n_walks,), rng=rng)[:, 0]
    both = bidirectional_monte_carlo(
        model, model.prior, np.repeat(x, n_walks, axis=0), 1, n_steps=T, posterior_draws=ends, rng=rng
    )
    walked.append([both.lower, both.upper])
walked = np.array(walked)  # (len(lengths), 2, n_walks)
annealed, annealed_error = walked.mean(axis=2), walked.std(axis=2) / np.sqrt(n_walks)

for side, sign, relation in ((0, -1, "≤"), (1, 1, "≥")):
    value, error = annealed[-1, side], annealed_error[-1, side]
    course.report(
        f"annealed, K = 1, T = {lengths[-1]}, {('forwards', 'backwards')[side]}",
        f"{value:.4f} ± {error:.4f}",
        f"{relation} {exact:.4f}  log p(x)",
        holds=sign * (value - exact) > -5 * error,
    )

# %% [markdown]
# ## The picture

# %%
fig, (left, middle, right) = plt.subplots(1, 3, figsize=(18, 5))

shown = [0, 1, 2, 5, n_climbed]
labels = ["uniform", "1 step", *(f"{step} steps" for step in shown[2:]), "posterior"]
tops = np.append(elbos[shown], exact)
gaps = np.append(divergences[shown], 0.0)
floor = np.floor(elbos[0]) - 2
left.bar(labels, tops - floor, bottom=floor, color=course.BLUE, width=0.7, label="ELBO")
left.bar(labels, gaps, bottom=tops, color=course.ORANGE, width=0.7, label="KL(q ‖ p(z | x))")
left.axhline(exact, color="black", lw=1.2, ls="--", label=f"log p(x) = {exact:.3f}")
for i, (top, gap) in enumerate(zip(tops, gaps, strict=True)):
    left.annotate(f"{top:.2f}", (i, top), (0, -4), textcoords="offset points", ha="center", va="top", color="white")
    if gap > 1:
        left.annotate(f"{gap:.2f}", (i, top + gap / 2), ha="center", va="center")
left.set(xlabel="q, as Adam climbs", ylabel="nats", ylim=(floor, exact + 0.2 * (exact - floor)))
left.set_title("ELBO + KL = log p(x), whatever q")
left.legend(loc="upper left", ncols=3)

middle.axhline(exact, color="black", lw=1.2, ls="--", label="log p(x), exact")
middle.errorbar(
    grid, upper, 2 * upper_error, fmt="v-", color=course.RED, capsize=3, label="upper: one draw from p(z | x)"
)
middle.errorbar(grid, lower, 2 * lower_error, fmt="^-", color=course.BLUE, capsize=3, label="lower: IWAE")
middle.annotate("EUBO", (1, upper[0]), (8, 2), textcoords="offset points", color=course.RED)
middle.annotate("ELBO", (1, lower[0]), (8, -10), textcoords="offset points", color=course.BLUE)
middle.set(xscale="log", xlabel="draws K", ylabel="bound on log p(x), nats", xticks=grid, xticklabels=grid)
middle.minorticks_off()
middle.set_title("More draws close the sandwich\n(bars: 2 standard errors)")
middle.legend(loc="upper right")

right.axhline(exact, color="black", lw=1.2, ls="--", label="log p(x), exact")
for side, marker, colour, name in ((1, "v-", course.RED, "backwards"), (0, "^-", course.BLUE, "forwards")):
    mean, error = annealed[:, side], annealed_error[:, side]
    right.errorbar(lengths, mean, 2 * error, fmt=marker, color=colour, capsize=3, label=f"{name}, K = 1")
right.annotate("EUBO of the prior", (1, annealed[0, 1]), (10, 2), textcoords="offset points", color=course.RED)
right.annotate("ELBO of the prior", (1, annealed[0, 0]), (10, -8), textcoords="offset points", color=course.BLUE)
right.set(xlabel="steps of β, T, from the prior to the posterior", ylabel="bound on log p(x), nats")
right.set(xscale="log", xticks=lengths, xticklabels=lengths)
right.minorticks_off()
right.set_title("Small steps from the prior close it too\n(bars: 2 standard errors)")
right.legend(loc="lower right")

course.save(fig, "03_the_bound")

# %% [markdown]
# ## What this simplified
#
# - One observation, and ten latents whose average can be taken exactly. Chapter 4 is about gradients when it
#   cannot.
# - The best independent `q` still has a gap: causes that explain the same effect are dependent given the effect,
#   and no product of ten Bernoullis can say so. A richer family would narrow it.
# - A bound is a statement about an average. A *single* draw of log w, or of a log mean, may well lie above log
#   p(x); about half of them do when `q` is good.
# - Draws from the posterior were to be had, because the states could be listed. For data simulated from a model one
#   has exactly one, the `z` that made them; for real data none, and then nothing bounds from above.
