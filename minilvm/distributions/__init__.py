"""Laws of probability, one file each: the density as an equation, its sampler, its gradient."""

from minilvm.distributions import divergences
from minilvm.distributions.base import Distribution
from minilvm.distributions.bernoulli import Bernoulli
from minilvm.distributions.beta import Beta
from minilvm.distributions.bijections import (
    AffineTransform,
    Bijection,
    ExpTransform,
    SigmoidTransform,
    SoftplusTransform,
    TanhTransform,
)
from minilvm.distributions.binomial import Binomial
from minilvm.distributions.categorical import Categorical
from minilvm.distributions.delta import Delta
from minilvm.distributions.dirichlet import Dirichlet
from minilvm.distributions.discrete_uniform import DiscreteUniform
from minilvm.distributions.discretized_logistic import DiscretizedLogistic
from minilvm.distributions.exponential import Exponential
from minilvm.distributions.gamma import Gamma
from minilvm.distributions.gumbel import Gumbel
from minilvm.distributions.independent import Independent
from minilvm.distributions.kl import kl_divergence, register_kl
from minilvm.distributions.laplace import Laplace
from minilvm.distributions.log_normal import LogNormal
from minilvm.distributions.low_rank_multivariate_normal import LowRankMultivariateNormal
from minilvm.distributions.mixture_same_family import MixtureSameFamily
from minilvm.distributions.multivariate_normal import MultivariateNormal
from minilvm.distributions.normal import Normal
from minilvm.distributions.one_hot_categorical import OneHotCategorical
from minilvm.distributions.parameters import Constraint
from minilvm.distributions.poisson import Poisson
from minilvm.distributions.relaxed_bernoulli import RelaxedBernoulli
from minilvm.distributions.relaxed_one_hot_categorical import RelaxedOneHotCategorical
from minilvm.distributions.student_t import StudentT
from minilvm.distributions.transformed import Transformed
from minilvm.distributions.uniform import Uniform

__all__ = [
    "AffineTransform",
    "Bernoulli",
    "Beta",
    "Bijection",
    "Binomial",
    "Categorical",
    "Constraint",
    "Delta",
    "Dirichlet",
    "DiscreteUniform",
    "DiscretizedLogistic",
    "Distribution",
    "ExpTransform",
    "Exponential",
    "Gamma",
    "Gumbel",
    "Independent",
    "Laplace",
    "LogNormal",
    "LowRankMultivariateNormal",
    "MixtureSameFamily",
    "MultivariateNormal",
    "Normal",
    "OneHotCategorical",
    "Poisson",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "SigmoidTransform",
    "SoftplusTransform",
    "StudentT",
    "TanhTransform",
    "Transformed",
    "Uniform",
    "divergences",
    "kl_divergence",
    "register_kl",
]
