"""Fitting: expectation-maximisation, stochastic variational inference, and the optimisers that it climbs with."""

from minilvm.inference.em import EMResult, fit_em, free_energy
from minilvm.inference.optim import SGD, Adam
from minilvm.inference.passes import e_step, em_pass
from minilvm.inference.svi import SVIResult, fit_svi
from minilvm.inference.training import minibatches
from minilvm.inference.workers import WorkerLostError

__all__ = [
    "SGD",
    "Adam",
    "EMResult",
    "SVIResult",
    "WorkerLostError",
    "e_step",
    "em_pass",
    "fit_em",
    "fit_svi",
    "free_energy",
    "minibatches",
]
