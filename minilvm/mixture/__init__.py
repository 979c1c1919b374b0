"""Mixtures of Gaussians as estimators with `fit` and `predict`, by scikit-learn's conventions."""

from minilvm.mixture.bayesian_gaussian_mixture import BayesianGaussianMixture
from minilvm.mixture.gaussian_mixture import GaussianMixture
from minilvm.mixture.selection import Selection, select

__all__ = ["BayesianGaussianMixture", "GaussianMixture", "Selection", "select"]
