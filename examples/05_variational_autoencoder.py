# %% [markdown]
# # 5. The variational autoencoder
#
# A digit of 8 × 8 pixels has 64 numbers, and far fewer ways to be a digit: how slanted, how round, how tall. Let
# `z` stand for those, and let a network, the *decoder*, turn it into a probability for each pixel:
#
#     z ~ N(0, I),    x | z ~ Bernoulli(σ(decoder(z))),    p(x) = ∫ p(x | z) p(z) dz
#
# This is chapter 1's mixture with infinitely many components that share their parameters. The sum over `z` is now
# an integral that nobody can do, so we climb the bound of chapter 3 with the gradient of chapter 4. One thing is
# new. In chapter 3 each `x` had a `q` of its own, found by hundreds of steps. A second network, the *encoder*,
# writes down the parameters of `q` for any `x` at once:
#
#     L(x) = E_{q(z|x)} [log p(x, z) − log q(z | x)]                                                           (N14)
#          = E_{q(z|x)} [log p(x | z)] − KL(q(z | x) ‖ p(z))                                                   (N15)
#
# Reconstruction less complexity: encode, sample, decode; and pay for every nat that the code says about `x`.

# %%
"""Chapter 5: a variational autoencoder of digits against a mixture (N14, N15, N17)."""

import course
import matplotlib.pyplot as plt
import numpy
from tqdm import tqdm

import minilvm.numpy as np  # not NumPy this time: these functions can be differentiated
from minilvm import data, plot
from minilvm.backend import Array
from minilvm.distributions import Normal, kl_divergence
from minilvm.estimators import elbo_kl_form, iwae, log_weights
from minilvm.inference import Adam, fit_em, fit_svi
from minilvm.models import VAE, AmortizedGuide, BernoulliMixture
from minilvm.nn import MLP

quick = course.quick()
course.chapter("5. The variational autoencoder: 1797 digits of 8 × 8 binary pixels, nats per digit")

images, labels = data.load_digits()
x = data.binarize(images, maximum=16).reshape(len(images), 64).astype("float32")
rng = numpy.random.default_rng(0)
x_rest, x_test, _, y_test = data.train_test_split(x, labels, test_fraction=0.2, rng=rng)
x_train, x_validation = data.train_test_split(x_rest, test_fraction=0.1, rng=rng)

# %% [markdown]
# ## The two networks, and the bound
#
# The encoder ends in 2L numbers, the means and the log standard deviations of a Gaussian. With its draw
# reparameterised, N15 is one differentiable function of all the weights. `elbo_kl_form` is these three lines:
#
#     z = q.rsample((K,), rng=rng)
#     reconstruction = model.likelihood(z).log_prob(x).mean(axis=0)
#     return reconstruction - kl_divergence(q, model.prior)

# %%


def relu(h: Array) -> Array:
    """max(h, 0)."""
    return np.maximum(h, 0.0)


def autoencoder(n_latents: int, width: int = 200) -> tuple[VAE, AmortizedGuide]:
    """Return a model and a guide that know nothing yet."""
    decoder = MLP.create([n_latents, width, width, 64], activation=relu, rng=rng, dtype="float32")
    encoder = MLP.create([64, width, width, 2 * n_latents], activation=relu, rng=rng, dtype="float32")
    return VAE(decoder, n_latents), AmortizedGuide(encoder)


def average_bound(model: VAE, guide: AmortizedGuide, x: Array) -> float:
    """The bound N15, averaged over ten draws for each digit."""
    return float(elbo_kl_form(model, guide(x), x, n_samples=10, rng=numpy.random.default_rng(1)).mean())


# %% [markdown]
# ## Training
#
# 1294 digits are few: the bound on them rises for as long as one trains, and the bound on other digits does not. So
# we look at a validation set after each epoch and keep the parameters that did best there. The test set is looked
# at too, to draw its curve, and decides nothing.

# %%
n_epochs = 100 if quick else 400
curves = {"train": [], "validation": [], "test": []}
best = []


def watch(epoch: int, model: VAE, guide: AmortizedGuide, lower_bound: float) -> None:
    """Note the bounds after an epoch, and keep the parameters if they are the best so far."""
    curves["train"].append(lower_bound)
    curves["validation"].append(average_bound(model, guide, x_validation))
    curves["test"].append(average_bound(model, guide, x_test))
    if curves["validation"][-1] == max(curves["validation"]):
        best[:] = epoch, model, guide


start = autoencoder(n_latents=16)
fit_svi(*start, x_train, n_epochs=n_epochs, optimizer=Adam(lr=1e-3), rng=rng, callback=watch, progress=True)
best_epoch, model, guide = best

# %% [markdown]
# ## Something to beat
#
# A mixture of 20 products of Bernoullis, fitted by the EM of chapter 1 to the same digits, has an exact likelihood.
# It gets the same chance: how strongly to smooth it, and which of several starts to keep, are chosen on the
# validation set.

# %%
x_em = x_train.astype("float64")
choices = [(a, seed) for a in (0.03, 0.1, 0.3, 1.0) for seed in range(2 if quick else 10)]
mixtures = []
for a, seed in tqdm(choices, desc="mixtures of 20"):
    first = BernoulliMixture.initialise(x_em, n_components=20, rng=seed, pseudocount=a)
    mixtures.append(fit_em(first, x_em, tol=1e-7).model)
mixture = max(mixtures, key=lambda m: m.log_marginal(x_validation).mean())

# %% [markdown]
# ## The numbers
#
# All on the 359 test digits. The mixture's log-likelihood is exact. The autoencoder's is bounded from below, by the
# ELBO and, more tightly, by IWAE with 100 draws (N17): what is claimed for it is less than what it has.

# %%
exact_mixture = mixture.log_marginal(x_test)
q = guide(x_test)
tighter = iwae(log_weights(model, q, x_test, 100, rng=rng))
complexity = float(kl_divergence(q, model.prior).mean())
elbo_test = curves["test"][best_epoch]
advantage = tighter - exact_mixture
error = float(advantage.std() / len(advantage) ** 0.5)

course.report("mixture of 20, log p(x), exact", f"{exact_mixture.mean():.2f}", f"smoothed by {mixture.pseudocount}")
course.report("autoencoder, ELBO after 1 epoch", f"{curves['test'][0]:.2f}", "on the test digits, as all below")
course.report(
    f"autoencoder, ELBO after {best_epoch + 1} epochs",
    f"{elbo_test:.2f}",
    "has risen",
    holds=elbo_test > curves["test"][0],
)
course.report("  reconstruction, E log p(x | z)", f"{elbo_test + complexity:.2f}")
course.report("  complexity, KL(q(z | x) ‖ p(z))", f"{complexity:.2f}", "≥ 0", holds=complexity >= 0)
course.report("autoencoder, IWAE-100", f"{tighter.mean():.2f}", "≥ ELBO, ≤ log p(x)", holds=tighter.mean() > elbo_test)
course.report(
    "  more than the mixture by", f"{advantage.mean():.2f} ± {error:.2f}", "> 0", holds=advantage.mean() > 2 * error
)

# %% [markdown]
# ## Two dimensions, to look at
#
# Sixteen latents fit better; two can be drawn. Another autoencoder, the same but for L = 2: every test digit at the
# mean of its q(z | x), and the digits that the decoder makes of a grid of points, spread as the prior is.

# %%
flat = fit_svi(*autoencoder(n_latents=2), x_train, n_epochs=n_epochs, optimizer=Adam(lr=1e-3), rng=rng, progress=True)
codes = flat.guide(x_test).mean  # (359, 2)
ticks = Normal(0.0, 1.0).icdf(np.linspace(0.03, 0.97, 11)).astype("float32")
grid = numpy.stack(numpy.meshgrid(ticks, ticks[::-1]), axis=-1).reshape(-1, 2)  # row by row, from the top

# %% [markdown]
# ## The picture

# %%
fig, axes = plt.subplots(2, 3, figsize=(14.5, 9.4))
(climb, reconstructions, samples), (scatter, plane, components) = axes
shades = {"vmin": 0, "vmax": 1}

epochs = range(1, n_epochs + 1)
climb.plot(epochs, curves["train"], color=course.SKY, lw=1, label="ELBO, training digits")
climb.plot(epochs, curves["test"], color=course.BLUE, label="ELBO, test digits")
climb.plot(best_epoch + 1, elbo_test, "o", color=course.BLUE, label="kept: best on validation digits")
climb.axhline(tighter.mean(), color=course.GREEN, ls="-.", lw=1.5, label="its IWAE-100, test digits")
climb.axhline(exact_mixture.mean(), color=course.RED, ls="--", lw=1.5, label="mixture of 20, test digits, exact")
climb.set(xlabel="epoch", ylabel="nats per digit", ylim=(-27, -14))
climb.set_title("The autoencoder passes the mixture,\nthen learns its training digits by heart")
climb.legend(loc="lower right")

shown = x_test[[(y_test == digit).nonzero()[0][2] for digit in range(10)]]
decoded = model.likelihood(guide(shown).mean).mean
plot.image_grid(
    reconstructions, numpy.concatenate([shown[:5], decoded[:5], shown[5:], decoded[5:]]).reshape(-1, 8, 8), 5, **shades
)
reconstructions.set_title("64 pixels through 16 numbers and back\n(test digits; below each, p(x | z) at the mean code)")

z = model.prior.sample(64, rng=rng)
plot.image_grid(samples, model.likelihood(z).mean.reshape(-1, 8, 8), 8, **shades)
samples.set_title("Digits that nobody wrote\n(p(x | z) for z drawn from the prior)")

inks = [
    course.BLACK,
    course.ORANGE,
    course.SKY,
    course.GREEN,
    course.BLUE,
    course.RED,
    course.PURPLE,
    course.GREY,
    "#7A3E00",
    "#4B0092",
]
for digit, ink in enumerate(inks):
    scatter.scatter(*codes[y_test == digit].T, marker=f"${digit}$", s=42, color=ink, lw=0.2)
scatter.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
scatter.set_title("Nobody told it the labels\n(two latents: test digits at the mean of q(z | x))")

plot.image_grid(plane, flat.model.likelihood(grid).mean.reshape(-1, 8, 8), len(ticks), **shades)
plane.set_title("The same plane, decoded\n(p(x | z) on a grid of prior quantiles)")

plot.image_grid(components, mixture.probs[np.argsort(-mixture.weights)].reshape(-1, 8, 8), 5, **shades)
components.set_title("The mixture has 20 digits to choose from\n(its components, most frequent first)")

course.save(fig, "05_variational_autoencoder")

# %% [markdown]
# ## What this simplified
#
# - Pixels were cut to black and white, once. Grey levels want another p(x | z), and their likelihoods do not
#   compare.
# - A diagonal Gaussian q(z | x) written down by one network has two faults: the best such Gaussian is not the
#   posterior, and the encoder does not find the best. Together they are the gap; the notes call them N20.
# - IWAE-100 is a bound: how much of the distance to log p(x) is left we do not know, only that it helps the
#   autoencoder.
# - Twenty components is a modest mixture, and sixteen latents a modest autoencoder. The comparison is of these two.
