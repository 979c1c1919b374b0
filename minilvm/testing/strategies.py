"""Hypothesis strategies for models and weights small enough that their truth is known exactly.

All shrink towards one state, one datum, and zeros. They draw arrays of the active backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minilvm.numpy as np
from minilvm import backend
from minilvm.models import LinearGaussian, MixtureOfGaussians, SigmoidBeliefNetwork
from minilvm.models.covariances import COVARIANCE_TYPES


def reals(limit: float) -> st.SearchStrategy[float]:
    """Floats in [−limit, limit], without subnormals."""
    return st.floats(-limit, limit, allow_subnormal=False)


def arrays(shape: int | tuple[int, ...], limit: float = 3.0) -> st.SearchStrategy[Any]:
    """Float64 arrays of a shape, entries in [−limit, limit]."""
    return hnp.arrays(numpy.float64, shape, elements=reals(limit)).map(backend.asarray)


def log_weight_arrays(max_samples: int = 6, max_data: int = 3, limit: float = 800.0) -> st.SearchStrategy[Any]:
    """Finite log weights of shape (K, N), so far out that exp overflows above and underflows below."""
    return st.tuples(st.integers(1, max_samples), st.integers(1, max_data)).flatmap(lambda shape: arrays(shape, limit))


@st.composite
def log_tables(draw: Any, max_states: int = 5, limit: float = 30.0) -> tuple[Any, Any]:
    """A pair (log p(x, z), log q(z)) over S states, q normalised: all that a bound for one datum depends on."""
    n_states = draw(st.integers(1, max_states))
    log_joint, logits = draw(arrays(n_states, limit)), draw(arrays(n_states, limit))
    log_q = logits - logits.max()
    return log_joint, log_q - np.log(np.exp(log_q).sum())


@st.composite
def sigmoid_belief_networks(draw: Any, max_latents: int = 3, max_features: int = 4) -> SigmoidBeliefNetwork:
    """Networks whose 2^L states can be listed in no time."""
    n_latents, n_features = draw(st.integers(1, max_latents)), draw(st.integers(1, max_features))
    return SigmoidBeliefNetwork(
        draw(arrays(n_latents)), draw(arrays((n_latents, n_features))), draw(arrays(n_features))
    )


@st.composite
def gaussian_mixtures(
    draw: Any, max_components: int = 3, max_features: int = 3, covariance_types: Sequence[str] = tuple(COVARIANCE_TYPES)
) -> MixtureOfGaussians:
    """Mixtures with weights of at least 1/(10 C) and covariances A Aᵀ + I/10, or what their type leaves of those."""
    n_components, n_features = draw(st.integers(1, max_components)), draw(st.integers(1, max_features))
    weights = draw(hnp.arrays(numpy.float64, n_components, elements=st.floats(0.1, 1.0)).map(backend.asarray))
    factors = draw(arrays((n_components, n_features, n_features), 2.0))
    covariances = factors @ factors.swapaxes(1, 2) + 0.1 * np.eye(n_features)
    covariance_type = draw(st.sampled_from(list(covariance_types)))
    of_type = [COVARIANCE_TYPES[covariance_type].from_full(covariance) for covariance in covariances]
    return MixtureOfGaussians(
        weights / weights.sum(),
        draw(arrays((n_components, n_features), 5.0)),
        of_type[0] if covariance_type == "tied" else np.stack(of_type),
        covariance_type,
    )


@st.composite
def linear_gaussians(draw: Any, max_latents: int = 2, max_features: int = 4) -> LinearGaussian:
    """Models with noise of standard deviation 0.1 to 2, one for each feature or one for all."""
    n_latents, n_features = draw(st.integers(1, max_latents)), draw(st.integers(1, max_features))
    shape = draw(st.sampled_from([(n_features,), ()]))
    noise = hnp.arrays(numpy.float64, shape, elements=st.floats(0.1, 2.0)).map(numpy.square).map(backend.asarray)
    return LinearGaussian(draw(arrays((n_features, n_latents))), draw(arrays(n_features)), draw(noise))
