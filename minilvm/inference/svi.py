"""Stochastic variational inference: gradient ascent on the bound, in model and guide at once (N10, N14).

To raise the mean of log p(x) is to bring the model nearer to the law of the data (N2); what is raised here is the mean
of a bound on it. In the model's parameters the gradient goes straight in under the average over q (N11), in the guide's
by way of the draws (N13), unless the objective knows another (N12).

With a `PerDatapointGuide` it learns one φ_i per datum; with an `AmortizedGuide` it trains an encoder, and the whole is
the variational autoencoder. The two differ in one line: where q comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tqdm import tqdm

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.autograd import value_and_grad
from minilvm.backend import Array
from minilvm.distributions import Distribution
from minilvm.estimators import elbo_kl_form
from minilvm.inference.optim import Adam, Optimizer
from minilvm.inference.training import minibatches
from minilvm.models.base import check_data

Model = TypeVar("Model")
Guide = TypeVar("Guide", bound=Callable[..., Distribution])
Objective = Callable[..., Array]


@dataclass(frozen=True, eq=False)
class SVIResult(Generic[Model, Guide]):
    """What training found, and the bound it climbed: the average over each epoch's batches, in nats per datum."""

    model: Model
    guide: Guide
    lower_bounds: list[float]


def fit_svi(
    model: Model,
    guide: Guide,
    x: Array,
    *,
    n_epochs: int,
    batch_size: int = 100,
    objective: Objective = elbo_kl_form,
    optimizer: Optimizer | None = None,
    rng: Any,
    callback: Callable[[int, Model, Guide, float], None] | None = None,
    progress: bool = False,
) -> SVIResult[Model, Guide]:
    """Maximise (1/N) Σ_i L(x_i; θ, φ) over the parameters of `model` and `guide`, by its gradient on a batch at a time.

    Parameters
    ----------
    model, guide
        Trees of floating-point arrays; `guide(x_batch, index)` is q for the data of a batch.
    x
        Data of shape (N, D).
    n_epochs, batch_size
        How often to go through the data, and how many data a step sees.
    objective
        `objective(model, q, x_batch, rng=)` gives the bound, one number per datum; higher is better. The default is
        `elbo_kl_form` (N15) with one sample; for IWAE (N17) with five, give
        `lambda model, q, x, *, rng: iwae(log_weights(model, q, x, 5, rng=rng))`, or, for a quieter gradient,
        `functools.partial(dreg, n_samples=5)`; for discrete latents `functools.partial(vimco, n_samples=5)`.
    optimizer
        `Adam()` by default.
    rng
        Seed or generator, of the order of the data and of the samples.
    callback
        Called as `callback(epoch, model, guide, lower_bound)` after each epoch.
    progress
        Show a progress bar.

    Raises
    ------
    ValueError
        The data are not a finite (N, D) table, or the model's law of x cannot take their values, or `objective` gives
        anything but one number per datum.
    FloatingPointError
        The bound or a parameter is no longer finite; the message says when. (What the callback kept is sound.)
    """
    check_data(x)
    optimizer = Adam() if optimizer is None else optimizer
    generator = backend.default_rng(rng, like=x)

    def loss(parameters: tuple[Model, Guide], index: Array, rng: Any = generator) -> Array:
        theta, phi = parameters
        batch = x[index]
        bound = objective(theta, phi(batch, index), batch, rng=rng)
        if bound.shape != index.shape:
            raise ValueError(f"objective gave shape {bound.shape}; expected {index.shape}, one number per datum")
        return -bound.mean()

    parameters = (model, guide)
    for index in minibatches(x, batch_size, rng=0):  # a rehearsal: a law looks at values only where nothing is traced
        loss(parameters, index, backend.default_rng(0, like=x))
    state = optimizer.init(parameters)
    loss_and_gradient = value_and_grad(loss)
    bounds: list[float] = []
    with tqdm(range(n_epochs), desc="SVI", unit="epoch", disable=not progress) as bar:
        for epoch in bar:
            total = 0.0
            for index in minibatches(x, batch_size, rng=generator):
                value, gradient = loss_and_gradient(parameters, index, generator)
                if not abs(float(value)) < float("inf"):
                    raise FloatingPointError(
                        f"the bound became {-float(value)} in epoch {epoch}: lower the learning rate"
                    )
                parameters, state = optimizer.step(parameters, gradient, state)
                total -= float(value) * len(index)
            if not all(bool(np.isfinite(leaf).all()) for leaf in tree.leaves(parameters)):
                raise FloatingPointError(
                    f"a parameter became infinite or NaN in epoch {epoch}: lower the learning rate"
                )
            bounds.append(total / len(x))
            bar.set_postfix(bound=f"{bounds[-1]:.2f}", refresh=False)
            if callback is not None:
                callback(epoch, *parameters, bounds[-1])
    return SVIResult(*parameters, bounds)
