"""Every way to estimate log p(x), to bound it, and to differentiate a bound: a few lines each over `log_w`."""

from minilvm.estimators.annealing import Sandwich, annealed_log_weights, bidirectional_monte_carlo
from minilvm.estimators.bound_gradients import dreg, reweighted_wake_sleep, sleep_phase, sticking_the_landing, vimco
from minilvm.estimators.bounds import (
    cubo,
    elbo,
    elbo_entropy_form,
    elbo_kl_form,
    eubo,
    iwae,
    jackknife,
    renyi,
    tvo,
    tvo_upper,
)
from minilvm.estimators.contracts import CONTRACTS, Contract
from minilvm.estimators.diagnostics import GapLedger, effective_sample_size, gap_ledger, pareto_k
from minilvm.estimators.explain import explain
from minilvm.estimators.gradients import expectation
from minilvm.estimators.marginal import Estimate, exact_log_marginal, importance_sampling, naive_monte_carlo
from minilvm.estimators.relaxed import GumbelSoftmax, Rebar, Relax
from minilvm.estimators.score_function import RunningMean
from minilvm.estimators.transitions import HMC, Gibbs
from minilvm.estimators.weights import log_weight_tiles, log_weights, logmeanexp, logsumexp_of_others, weigh

__all__ = [
    "CONTRACTS",
    "HMC",
    "Contract",
    "Estimate",
    "GapLedger",
    "Gibbs",
    "GumbelSoftmax",
    "Rebar",
    "Relax",
    "RunningMean",
    "Sandwich",
    "annealed_log_weights",
    "bidirectional_monte_carlo",
    "cubo",
    "dreg",
    "effective_sample_size",
    "elbo",
    "elbo_entropy_form",
    "elbo_kl_form",
    "eubo",
    "exact_log_marginal",
    "expectation",
    "explain",
    "gap_ledger",
    "importance_sampling",
    "iwae",
    "jackknife",
    "log_weight_tiles",
    "log_weights",
    "logmeanexp",
    "logsumexp_of_others",
    "naive_monte_carlo",
    "pareto_k",
    "renyi",
    "reweighted_wake_sleep",
    "sleep_phase",
    "sticking_the_landing",
    "tvo",
    "tvo_upper",
    "vimco",
    "weigh",
]
