"""A mixture that kills its workers, in a module of its own: processes import it."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass

from minilvm import tree
from minilvm.models import MixtureOfGaussians
from minilvm.models.kernels import Kernel


class DeadlyKernel(Kernel):
    """Ends the process that runs it, but for the one that made it."""

    def __init__(self):
        self.home = os.getpid()

    def __call__(self, x):
        if os.getpid() != self.home:
            os._exit(1)
        raise AssertionError("there is a worker for this")


@dataclass(frozen=True, eq=False)
class FragileMixture(MixtureOfGaussians):
    """Deadly from its third step on."""

    age: int = tree.static(default=0)

    def kernel(self):
        """Return the deadly one in old age."""
        return DeadlyKernel() if self.age == 2 else super().kernel()

    def m_step(self, statistics):
        """Return the same, a step older."""
        return dataclasses.replace(super().m_step(statistics), age=self.age + 1)
