"""The variational autoencoder's generative half (N1): z ~ N(0, I), x | z from a decoder network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minilvm import tree
from minilvm.backend import Array, namespace
from minilvm.distributions import Bernoulli, Independent, Normal
from minilvm.models.base import LatentVariableModel


@dataclass(frozen=True, eq=False)
class VAE(LatentVariableModel):
    """z ~ N(0, I_L),  x_d | z ~ Bernoulli(sigmoid(decoder(z))_d).

    (Kingma and Welling, arXiv:1312.6114.)

    The encoder is no part of the model: it is a guide, an `AmortizedGuide`, and any other guide would do. With one or
    two latents log p(x) is known to rounding: `minilvm.estimators.exact_log_marginal`.

    Parameters
    ----------
    decoder
        A map from z (…, L) to logits (…, D): a tree of parameters that can be called.
    n_latents
        L.
    """

    decoder: Callable[[Array], Array]
    n_latents: int = tree.static()

    @property
    def prior(self) -> Independent:
        """p(z) = N(z; 0, I)."""
        weight = tree.leaves(self.decoder)[0]
        xp = namespace(weight)
        zeros, ones = (make(self.n_latents, dtype=weight.dtype) for make in (xp.zeros, xp.ones))
        return Independent(Normal(zeros, ones, validate_args=False), 1)

    def likelihood(self, z: Array) -> Independent:
        """p(x | z) = Π_d Bernoulli(x_d; sigmoid(decoder(z))_d)."""
        return Independent(Bernoulli(logits=self.decoder(z)), 1)
