"""Every way to estimate log p(x), to bound it, and to differentiate a bound: a few lines each over `log_w`."""

from minilvm.estimators.bounds import elbo, elbo_entropy_form, elbo_kl_form, eubo, iwae
from minilvm.estimators.gradients import expectation
from minilvm.estimators.marginal import Estimate, exact_log_marginal, importance_sampling, naive_monte_carlo
from minilvm.estimators.weights import log_weight_tiles, log_weights, logmeanexp

__all__ = [
    "Estimate",
    "elbo",
    "elbo_entropy_form",
    "elbo_kl_form",
    "eubo",
    "exact_log_marginal",
    "expectation",
    "importance_sampling",
    "iwae",
    "log_weight_tiles",
    "log_weights",
    "logmeanexp",
    "naive_monte_carlo",
]
