# %% [markdown]
# # 1. Mixture of Gaussians
#
# Old Faithful is a geyser. Each of 272 observations is a pair: how long an eruption lasted, and how long one then
# waited for the next. A scatter plot shows two clouds. Nobody wrote down which eruption belongs to which cloud, so
# we say that somebody could have: a *latent variable* `z` that names the cloud, drawn first, and a Gaussian for
# each of its values,
#
#     z ~ Categorical(π₁ … π_C),    p(x | z = c) = N(x; μ_c, Σ_c),    p(x) = Σ_c π_c N(x; μ_c, Σ_c)         (N3)
#
# The third formula follows from the first two by adding up over what we do not know. It is the only sum of this
# course that is easy: it has two terms.

# %%
"""Chapter 1: EM on Old Faithful, as coordinate ascent on the free energy (N3, N8, N9)."""

import course
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from minilvm import data, plot
from minilvm.inference import e_step, fit_em, free_energy
from minilvm.models import MixtureOfGaussians

course.chapter("1. Mixture of Gaussians: Old Faithful, 272 eruptions, 2 components")

x = data.load_old_faithful()  # (272, 2), minutes
start = MixtureOfGaussians.initialise(x, n_components=2, rng=0)

# %% [markdown]
# ## Two half-steps, one function
#
# We want the parameters θ = (π, μ, Σ) under which the data are most probable. Take any guess `q` at the labels, a
# row of probabilities for each eruption, and write down the *free energy*, which is the evidence lower bound of
# chapter 3:
#
#     F(q, θ) = Σ_n E_q [log p(x_n, z) − log q_n(z)] = log p(x) − Σ_n KL(q_n ‖ p(z | x_n))               (N8, N9)
#
# A divergence is never negative, so F never exceeds the log-likelihood. Expectation-maximisation (EM) climbs F, one
# argument at a time:
#
# - **E-step**: the best `q` for these θ makes every divergence zero. It is the posterior, the *responsibilities*
#   p(z = c | x_n), and Bayes' rule gives it. Now F *equals* the log-likelihood.
# - **M-step**: the best θ for this `q`. Each Gaussian takes the mean and the covariance of the points, weighted by
#   its responsibilities; its π_c is its share of the data. F rises, and the log-likelihood, which is above F, at
#   least as much.
#
# Here are six steps of it. After every half-step we write down F, and the log-likelihood that it bounds.

# %%
theta = start
F, log_likelihood = [], []
for _ in range(6):
    q, log_p = e_step(theta, x)
    F.append(free_energy(theta, x, q).sum())  # the E-step has closed the gap
    log_likelihood.append(log_p.sum())

    theta = theta.m_step(theta.statistics(x, q))
    F.append(free_energy(theta, x, q).sum())  # the M-step has climbed, and opened it again
    log_likelihood.append(theta.log_marginal(x).sum())

# %% [markdown]
# That loop, run until a step gains less than 10⁻¹⁰ nats an eruption, is `fit_em`.

# %%
result = fit_em(start, x, progress=True)
model = result.model
responsibilities, log_p = e_step(model, x)

order = model.means[:, 0].argsort()  # numbering the components is up to us: short eruptions first
weights, means, covariances = model.weights[order], model.means[order], model.covariances[order]

# %% [markdown]
# ## The numbers
#
# The answer is known to all the digits below. That EM never falls is a theorem, and easily true of a wrong program
# too (one that forgets to update π, say). That the *gradient* of the log-likelihood vanishes at the end is the
# sharper test. With r_nc = p(z = c | x_n), N_c = Σ_n r_nc and S_c = Σ_n r_nc (x_n − μ_c) (x_n − μ_c)ᵀ it is, by
# Fisher's identity (docs/notes.md, 4.5),
#
#     N_c − N π_c                        for the logits of the weights,
#     Σ_c⁻¹ Σ_n r_nc (x_n − μ_c)         for a mean, and
#     ½ Σ_c⁻¹ (S_c − N_c Σ_c) Σ_c⁻¹      for a covariance.

# %%
r, gaps = responsibilities[:, order], x[:, None, :] - means
counts, precisions = r.sum(axis=0), np.linalg.inv(covariances)
scatter = np.einsum("nc,nci,ncj->cij", r, gaps, gaps)
gradients = (
    counts - len(x) * weights,
    np.einsum("cij,nc,ncj->ci", precisions, r, gaps),
    0.5 * precisions @ (scatter - counts[:, None, None] * covariances) @ precisions,
)
gradient = max(np.abs(part).max() for part in gradients)
largest_fall = round(max(0.0, -np.diff(result.lower_bounds).min()), 9)  # what is smaller is rounding
gap_after_e = round(np.abs(np.subtract(log_likelihood, F)[::2]).max(), 9)

total = f"{log_p.sum():.4f}"
course.report("log-likelihood, nats", total, "-1130.2640", holds=total == "-1130.2640")
for c, (name, expected) in enumerate({"short": "2.036, 54.479", "long": "4.290, 79.968"}.items()):
    mean = f"{means[c, 0]:.3f}, {means[c, 1]:.3f}"
    course.report(f"mean of the {name} eruptions, minutes", mean, expected, holds=mean == expected)
shares = f"{weights[0]:.4f}, {weights[1]:.4f}"
course.report("weights", shares, "0.3559, 0.6441", holds=shares == "0.3559, 0.6441")
course.report("largest gradient at the end", f"{gradient:.1g}", "0: EM is at a stationary point", holds=gradient < 1e-2)
course.report("largest fall in a step, nats", f"{largest_fall:.1g}", "0: EM never falls", holds=largest_fall < 1e-9)
course.report("gap after an E-step, nats", f"{gap_after_e:.1g}", "0: the bound is tight", holds=gap_after_e < 1e-9)

# %% [markdown]
# ## The picture

# %%
fig, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.6), width_ratios=(1.25, 1, 1))

shades = LinearSegmentedColormap.from_list("responsibility", [course.BLUE, "#D9D9D9", course.RED])
points = left.scatter(*x.T, c=responsibilities[:, order[1]], cmap=shades, vmin=0, vmax=1, s=18, lw=0.3, ec="white")
for mean, covariance, colour in zip(means, covariances, (course.BLUE, course.RED), strict=True):
    plot.ellipse(left, mean, covariance, n_std=(1, 2), color=colour, lw=1.4)
    left.plot(*mean, "+", color="black", ms=11, mew=2)
fig.colorbar(points, ax=left, label="responsibility of the long-eruption component")
left.set(xlabel="eruption (minutes)", ylabel="wait until the next (minutes)")
left.set_title("Two Gaussians explain Old Faithful\n(ellipses at 1 and 2 standard deviations)")

half_steps = np.arange(12) / 2
middle.fill_between(half_steps, F, log_likelihood, step="post", color=course.ORANGE, alpha=0.35, lw=0)
middle.step(half_steps, log_likelihood, where="post", color="black", lw=1.2, label="log p(x | θ)")
middle.step(half_steps, F, where="post", color=course.BLUE, lw=1.2, label="F(q, θ)")
middle.plot(half_steps[::2], F[::2], "o", color=course.BLUE, label="E-step: the gap closes")
middle.plot(half_steps[1::2], F[1::2], "^", color=course.RED, label="M-step: both rise")
middle.set(xlabel="EM step", ylabel="nats", xlim=(-0.25, 5.25), ylim=(F[0] - 10, None), xticks=range(6))
middle.set_title("EM climbs one function by half-steps\n(shaded: the gap, a KL divergence)")
middle.legend(loc="lower right")

left_to_gain = result.lower_bounds[-1] - np.array(result.lower_bounds[:-1])
right.semilogy(left_to_gain, "o-", color=course.BLUE)
right.set(xlabel="EM step", ylabel="bound still to gain, nats", xticks=range(0, len(left_to_gain), 2))
right.set_title(f"The bound never falls\n(it ends at {total} nats)")

course.save(fig, "01_mixture_of_gaussians")

# %% [markdown]
# ## What this simplified
#
# - The number of components was given. Choosing it takes held-out data, or a prior.
# - The likelihood has no maximum: a component that closes in on one point sends it to infinity. What EM finds, and
#   what one wants, is a good stationary point; `fit_em` reports a component that collapses. Which point it finds
#   depends on the start: on harder data, start several times.
# - Two terms are easily summed. Give `z` ten bits and there are a thousand; give it a hundred, or real numbers, and
#   the sum of N3 cannot be done at all. That is chapter 2.
