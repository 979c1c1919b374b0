"""Models, which say log p(x, z), and guides, which say q(z)."""

from minilvm.models.base import CollapsedComponentError, LatentVariableModel
from minilvm.models.bernoulli_mixture import BernoulliMixture
from minilvm.models.conjugate_prior import ConjugatePrior
from minilvm.models.gaussian_statistics import GaussianStatistics
from minilvm.models.guides import AmortizedGuide, PerDatapointGuide, diagonal_normal, factorised_bernoulli
from minilvm.models.linear_gaussian import LinearGaussian
from minilvm.models.mixture_of_gaussians import MixtureOfGaussians
from minilvm.models.sigmoid_belief import SigmoidBeliefNetwork
from minilvm.models.vae import VAE

__all__ = [
    "VAE",
    "AmortizedGuide",
    "BernoulliMixture",
    "CollapsedComponentError",
    "ConjugatePrior",
    "GaussianStatistics",
    "LatentVariableModel",
    "LinearGaussian",
    "MixtureOfGaussians",
    "PerDatapointGuide",
    "SigmoidBeliefNetwork",
    "diagonal_normal",
    "factorised_bernoulli",
]
