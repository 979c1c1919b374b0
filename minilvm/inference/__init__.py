"""Fitting: expectation-maximisation, stochastic variational inference, and the optimisers that it climbs with."""

from minilvm.inference.em import EMResult, e_step, fit_em, free_energy
from minilvm.inference.optim import SGD, Adam
from minilvm.inference.svi import SVIResult, fit_svi
from minilvm.inference.training import minibatches

__all__ = ["SGD", "Adam", "EMResult", "SVIResult", "e_step", "fit_em", "fit_svi", "free_energy", "minibatches"]
