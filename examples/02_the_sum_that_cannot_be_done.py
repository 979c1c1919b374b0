# %% [markdown]
# # 2. The sum that cannot be done
#
# A *sigmoid belief network* has binary causes `z` and binary effects `x`. Each cause is on or off; those that are
# on push the effects up or down:
#
#     z_l ~ Bernoulli(σ(a_l)),    x_d | z ~ Bernoulli(σ((z W + b)_d))
#
# What is the probability of the effects that we saw? By the rule of chapter 1, add up over what we did not see:
#
#     log p(x) = log Σ_z p(x, z)                                                                   (N4, for one x)
#
# With ten causes the sum has 2¹⁰ = 1024 terms, and can be done. With a hundred it has 10³⁰ and cannot. We keep to
# ten, so that there is a truth to measure against, and forbid ourselves to use it.

# %%
"""Chapter 2: estimates of log p(x), and what they cost (N4, N5, N6, N19)."""

import course
import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from minilvm.distributions import Bernoulli, Independent
from minilvm.estimators import exact_log_marginal, log_weights, logmeanexp, naive_monte_carlo
from minilvm.models import SigmoidBeliefNetwork

quick = course.quick()
course.chapter("2. The sum that cannot be done: a sigmoid belief network, 10 binary causes, 20 effects")

rng = np.random.default_rng(2)
model = SigmoidBeliefNetwork.random(n_latents=10, n_features=20, rng=rng)
x, _ = model.sample(1, rng=rng)  # (1, 20): one observation, from the model

exact = float(exact_log_marginal(model, x)[0])

# %% [markdown]
# ## Naive Monte Carlo
#
# A sum is an average times the number of terms, and an average can be estimated by sampling:
#
#     p(x) = |Z| E_{z ~ Uniform(Z)} [p(x, z)] ≈ |Z| (1/K) Σ_k p(x, z_k)                                       (N5)
#
# This is right on average for every K, and it is a lottery: almost no `z` explains `x`, so almost every draw adds
# nothing, and the estimate waits for the few that matter.

# %%
naive = naive_monte_carlo(model, x, 100, rng=0)
print(f"  log p(x) = {exact:.2f}; from 100 uniform draws {naive.log_p[0]:.2f} ± {naive.standard_error[0]:.2f}, it says")

# %% [markdown]
# ## Importance sampling
#
# Draw the `z` that matter instead, from any law `q`, and divide by how often they are drawn:
#
#     p(x) = E_{z ~ q} [w] ≈ (1/K) Σ_k w_k,    w = p(x, z) / q(z)                                              (N6)
#
# Uniform sampling is the special case of a uniform `q`, and sampling causes from the prior is another, in which the
# weight is p(x | z). The third `q` below knows something of `x`: each bit is on with its own posterior probability,
# independently of the others. (We read those ten numbers off the exact posterior here. Chapter 3 finds ten others,
# nearly as good, without it.)

# %%
states = model.prior.enumerate_support()  # (1024, 10)
posterior = np.exp(model.posterior(x).log_prob(states[:, None]))[:, 0]  # (1024,): p(z | x)

proposals = {
    "uniform": Independent(Bernoulli(probs=np.full(10, 0.5)), 1),
    "prior": model.prior,
    "informed": Independent(Bernoulli(probs=posterior @ states), 1),
}

# %% [markdown]
# How good is each? The variance of the estimate, relative to the squared target, is
#
#     Var(p̂) / p(x)² = (1/K) (Σ_z p(z | x)² / q(z) − 1)
#
# It is zero if `q` is the posterior: then every weight *is* p(x), and one draw is enough. So we compute what the
# error should be, by enumeration, and what it is, over many repetitions.

# %%
n_repetitions, K = (40, 2_000) if quick else (200, 10_000)
grid = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000) if k <= K]
at_once = 20  # repetitions: as many copies of x

one_draw, estimates = {}, {}
for name, q in proposals.items():
    one_draw[name] = np.sqrt(np.sum(posterior**2 / np.exp(q.log_prob(states))) - 1)
    runs = {k: [] for k in grid}
    for _ in tqdm(range(n_repetitions // at_once), desc=f"{name} q"):
        log_w = log_weights(model, q, np.repeat(x, at_once, axis=0), K, rng=rng)  # (K, at_once)
        for k in grid:
            runs[k].append(logmeanexp(log_w.reshape(k, -1)))  # the same draws make more runs of fewer
    estimates[name] = {k: np.concatenate(runs[k]) for k in grid}  # log p̂, once a run


def relative_error(name: str, k: int) -> float:
    """√ E [(p̂ / p(x) − 1)²], over the runs of k draws."""
    return float(np.sqrt(np.mean(np.expm1(estimates[name][k] - exact) ** 2)))


# %% [markdown]
# ## The numbers
#
# A relative error of 1 means that the estimate is wrong by as much as p(x) itself. Beside it stands what a run can
# *certify* about itself. A weight is never negative and has mean p(x), so by Markov's inequality
#
#     P( log p̂ − log(1/δ) ≥ log p(x) ) ≤ δ    for any K and any q                                             (N19)
#
# With δ = 0.05, `importance_sampling(log_w).lower_limit(0.05)`, which is log p̂ − 3.0, is at most log p(x) with
# probability at least 95%, however bad `q`.

# %%
delta = 0.05
for name in proposals:
    error, theory = relative_error(name, K), one_draw[name] / np.sqrt(K)
    expected = f"{theory:.3f}  = {one_draw[name]:.3g} / √K, by enumeration"
    course.report(f"relative error, K = {K}, {name} q", f"{error:.3f}", expected, holds=0.6 < error / theory < 1.6)
for name in proposals:
    share = min(np.mean(estimates[name][k] + np.log(delta) <= exact) for k in grid if k <= 100)
    expected = f"≥ {1 - delta:.0%}  (N19), at the worst K up to 100"
    course.report(f"certified limits that hold, {name} q", f"{share:.1%}", expected, holds=share >= 1 - delta)

# %% [markdown]
# ## The picture

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(13, 5))
colours = dict(zip(proposals, (course.RED, course.ORANGE, course.BLUE), strict=True))

for name, colour in colours.items():
    low, median, high = np.array([np.quantile(estimates[name][k], (0.05, 0.5, 0.95)) for k in grid]).T
    left.fill_between(grid, low, high, color=colour, alpha=0.15, lw=0)
    left.plot(grid, np.transpose([low, high]), color=colour, lw=0.8, ls=":")
    left.plot(grid, median, "o-", color=colour, ms=4, label=f"{name} q")
left.axhline(exact, color="black", lw=1.2, ls="--", label=f"exact: {exact:.3f}")
left.set(xscale="log", xlabel="draws K", ylabel="estimate of log p(x), nats", ylim=(exact - 12, exact + 4))
left.set_title("A proposal that knows nothing of x waits for luck\n(median, and 5% to 95% of the runs)")
left.legend(loc="lower right")

for name, colour in colours.items():
    right.plot(grid, [relative_error(name, k) for k in grid], "o", color=colour, ms=5)
    right.plot(grid, one_draw[name] / np.sqrt(grid), color=colour, lw=1.2, label=f"{name} q: {one_draw[name]:.3g} / √K")
right.set(xscale="log", yscale="log", xlabel="draws K", ylabel="relative error of p̂")
right.set_title(
    "Every error falls as 1/√K; the constant is everything\n(dots: measured; lines: computed by enumeration)"
)
right.legend(loc="lower left")

course.save(fig, "02_the_sum_that_cannot_be_done")

# %% [markdown]
# ## What this simplified
#
# - Ten causes. At K = 10,000 the sampler has drawn ten times as many states as there are: here enumeration is
#   cheaper. The point is the constant, which grows exponentially with the number of causes for a `q` that knows
#   nothing.
# - The informed `q` was read off the posterior, which in earnest nobody has. Chapter 3 finds one by climbing a
#   bound.
# - The estimate is unbiased *before* the logarithm. Its logarithm is too low on average; that too is chapter 3.
