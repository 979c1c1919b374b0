"""Latent-variable models from scratch on NumPy.

Everything here is a way round one sum that cannot be done, ``log p(x) = log Σ_z p(x, z)``, built from one quantity, the
importance weight ``w = p(x, z) / q(z)``. Reading the package from the ground up is the course:

===================  ==================================================================================
``backend``          which array library computes: NumPy, or CuPy on a GPU
``tree``             functions mapped over nested containers and dataclasses of arrays
``threads``          long calls on large arrays, on all cores
``tape``             what a traced computation leaves behind, and the walk back over it
``rules``            how a function learns its derivative: ``primitive``
``numpy``            NumPy's functions, each with its derivative beside it
``autograd``         functions of functions: ``grad``, ``value_and_grad``, ``vjp``, ``jvp``, ``hessian``
``distributions``    probability laws: ``sample``, ``rsample``, ``log_prob``, Kullback-Leibler divergences
``nn``               layers of neural networks, as dataclasses of arrays
``estimators``       estimates of ``log p(x)``, the bounds on it, and their gradients
``models``           models, which say ``log p(x, z)``, and guides, which say ``q(z)``
``inference``        expectation-maximisation, stochastic variational inference, optimisers
``data``, ``plot``   data sets and pictures
``testing``          the tools that check all of the above, for your own models too
===================  ==================================================================================

Importing ``minilvm`` imports none of these: name the one you want, as in ``from minilvm import backend`` or
``import minilvm.numpy as np``.
"""

__version__ = "0.1.0"
