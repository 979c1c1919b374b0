"""The mixture of Gaussians whose parameters are latent too: EM's E-step and M-step with laws in place of numbers.

    p(x, z, θ) = p(θ) Π_n π_{z_n} N(x_n; μ_{z_n}, Λ_{z_n}⁻¹),     q(z, θ) = q(z) q(θ)

    log p(X) ≥ E_q[log p(X, z, θ) − log q(z, θ)]
             = Σ_n log Σ_c ρ_nc − KL(q(θ) ‖ p(θ)),     log ρ_nc = E_q(θ)[log p(x_n, c | θ)]

It is the ELBO (N7) in all latents at once, so it can be climbed by `fit_em`: the E-step is the best q(z) for this q(θ),
the M-step the best q(θ) for this q(z), and neither lowers it. (Bishop 2006, §10.2; Blei and Jordan 2006 for sticks.)
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Self

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, namespace
from minilvm.models.base import check_data
from minilvm.models.conjugate_prior import ConjugatePrior
from minilvm.models.covariances import COVARIANCE_TYPES, CovarianceType
from minilvm.models.gaussian_kernels import gaussian_kernel
from minilvm.models.gaussian_statistics import GaussianStatistics
from minilvm.models.kernels import Kernel, Regulariser
from minilvm.models.whitened_kernels import WhitenedFull, WhitenedSpherical, WhitenedTied
from minilvm.numpy.special import digamma, gammaln

LOG_TWO_PI = math.log(2.0 * math.pi)
WHITENED = {"full": WhitenedFull, "tied": WhitenedTied, "spherical": WhitenedSpherical}


@dataclass(frozen=True, eq=False)
class VariationalMixture:
    """q(θ), the variational posterior of a mixture's parameters.

    q(μ_c | Λ_c) = N(m_c, (β_c Λ_c)⁻¹) and q(Λ_c) = Wishart(S_c⁻¹, ν_c), so E[Λ_c] = ν_c S_c⁻¹. A variance is a Wishart
    matrix of one row: diag has D of them in a component, spherical one.

    Parameters
    ----------
    concentration
        Of q(π): α of a Dirichlet law, (C,); or (C, 2), the two parameters of Beta laws for the sticks v of a Dirichlet
        process, π_c = v_c Π_{b<c} (1 − v_b). C is then where q stops: it gives components beyond C no data.
    mean_precision
        β, (C,).
    means
        m, (C, D).
    degrees_of_freedom
        ν: (C,), or () for tied.
    scale
        S: (C, D, D), tied (D, D), diag (C, D), spherical (C,).
    prior
        p(μ, Λ), as `ConjugatePrior` says; its own concentration is not used.
    concentration_prior
        α₀ of p(π) = Dirichlet(α₀, …, α₀), or γ of sticks v ~ Beta(1, γ).
    covariance_type
        "full", "tied", "diag" or "spherical".
    """

    concentration: Array
    mean_precision: Array
    means: Array
    degrees_of_freedom: Array
    scale: Array
    prior: ConjugatePrior = tree.static()
    concentration_prior: float = tree.static()
    covariance_type: str = tree.static(default="full")

    @classmethod
    def from_statistics(
        cls, statistics: GaussianStatistics, prior: ConjugatePrior, concentration_prior: float, *, sticks: bool
    ) -> Self:
        """Return the q(θ) that a first M-step makes of statistics; with `sticks`, of a Dirichlet process."""
        C = len(statistics.counts)
        shape = (C, 2) if sticks else (C,)
        zeros = np.zeros_like(statistics.counts)
        nothing = cls(
            np.zeros_like(statistics.counts, shape=shape), zeros, statistics.centres, zeros, statistics.second,
            prior, concentration_prior, statistics.covariance_type,
        )  # fmt: skip
        return nothing.m_step(statistics)

    # Expectations under q(θ) -----------------------------------------------------------------------------------------

    @property
    def _kind(self) -> CovarianceType:
        return COVARIANCE_TYPES[self.covariance_type]

    @property
    def _rows(self) -> int:
        """How many rows a Wishart matrix has."""
        return int(self.means.shape[1]) if self.covariance_type in {"full", "tied"} else 1

    @property
    def covariances(self) -> Array:
        """E[Λ]⁻¹ = S / ν."""
        nu = self.degrees_of_freedom
        return self.scale / nu.reshape(nu.shape + (1,) * (self.scale.ndim - nu.ndim))

    @property
    def weights(self) -> Array:
        """E[π]; of a Dirichlet process, as shares of the first C sticks."""
        shares = self.concentration / self.concentration.sum(axis=-1, keepdims=True)
        if self.concentration.ndim == 1:
            return shares
        weights = np.exp(_along_sticks(np.log(shares)))
        return weights / weights.sum()

    def log_weights(self) -> Array:
        """Return E[log π], shape (C,)."""
        expected = _expected_log(self.concentration)
        return expected if self.concentration.ndim == 1 else _along_sticks(expected)

    def _log_det_precision(self) -> Array:
        """E[log |Λ|] of each Wishart matrix: Σ_i ψ((ν + 1 − i) / 2) + r log 2 − log |S|, for r rows."""
        r = self._rows
        log_det = self._kind.log_determinants(self.scale)
        nu = self.degrees_of_freedom
        psi = digamma(0.5 * (nu[..., None] - namespace(nu).arange(r))).sum(axis=-1) + r * math.log(2.0)
        return psi.reshape(psi.shape + (1,) * (log_det.ndim - psi.ndim)) - log_det

    def _of_component(self, of_matrix: Array) -> Array:
        """What adds up over a component's Wishart matrices, D equal ones for spherical, that broadcasts to (C,)."""
        if self.covariance_type == "diag":
            return of_matrix.sum(axis=1)
        return self.means.shape[1] * of_matrix if self.covariance_type == "spherical" else of_matrix

    # E-step, M-step, bound -------------------------------------------------------------------------------------------

    def check_data(self, x: Array) -> None:
        """Refuse data that are not a finite (N, D) table to match the means."""
        check_data(x, self.means.shape[1])

    def is_valid(self) -> bool:
        """Whether the parameters are those of laws."""
        positive = [self.concentration, self.mean_precision, self.degrees_of_freedom - (self._rows - 1.0)]
        sound = self._kind.are_sound(self.scale, np.zeros_like(self._kind.variances(self.scale)))
        return all(bool((parameter > 0).all()) for parameter in positive) and bool(sound.all())

    def kernel(self) -> Kernel:
        """Return log ρ_nc = E[log π_c] + ½ E[log |Λ_c|] − ½ D (log 2π + 1/β_c) − ½ (x − m_c)ᵀ E[Λ_c] (x − m_c)."""
        D = self.means.shape[1]
        log_constants = (
            self.log_weights()
            + 0.5 * self._of_component(self._log_det_precision())
            - 0.5 * D * (LOG_TWO_PI + 1.0 / self.mean_precision)
        )
        factors = self._kind.factor(self.covariances)
        of_components = log_constants, self.means, factors, self.covariance_type
        return gaussian_kernel(*of_components, weights=self.weights, regulariser=Regulariser(self.prior.scale))

    def component_log_joint(self, x: Array) -> Array:
        """Return log ρ, of shape (N, C)."""
        self.check_data(x)
        return self.kernel().log_joint(x).T

    def statistics(self, x: Array, responsibilities: Array) -> GaussianStatistics:
        """Sum the data's moments, each point shared among the components by its `responsibilities` (N, C)."""
        return GaussianStatistics.from_data(x, responsibilities, self.means, self.covariance_type)

    def m_step(self, statistics: GaussianStatistics) -> Self:
        """Return the best q(θ) for these responsibilities: the posterior, had they been labels (Bishop, 10.58-10.63).

        β = β₀ + N,   m = (β₀ m₀ + N x̄) / β,   ν = ν₀ + N,   S = S₀ + scatter + β₀ N / β (x̄ − m₀)(x̄ − m₀)ᵀ

        for each component; a matrix that all share has ν₀ + Σ_c N_c, a variance that D features share ν₀ + D N.
        """
        counts, D = statistics.counts, statistics.centres.shape[1]
        both = self.prior.add_to(statistics)
        mass = {"full": counts, "tied": counts.sum(), "diag": counts, "spherical": D * counts}[self.covariance_type]
        return dataclasses.replace(
            self,
            concentration=self._concentration(counts),
            mean_precision=both.counts,
            means=both.means,
            degrees_of_freedom=self.prior.degrees_of_freedom + mass,
            scale=both.scatter,
        )

    def _concentration(self, counts: Array) -> Array:
        if self.concentration.ndim == 1:
            return self.concentration_prior + counts
        later = np.concatenate([np.cumsum(counts[:0:-1])[::-1], counts[:1] * 0.0])  # N_c+1 + … + N_C: nothing cancels
        return np.stack([1.0 + counts, self.concentration_prior + later], axis=1)

    def log_parameter_prior(self) -> Array:
        """Return −KL(q(θ) ‖ p(θ)), what EM adds to Σ_n log Σ_c ρ_nc: then it climbs the ELBO."""
        return -(self._kl_weights() + self._kl_means() + self._kl_precisions())

    def _kl_weights(self) -> Array:
        a, a0 = self.concentration, self.concentration_prior
        prior = np.full_like(a, a0) if a.ndim == 1 else np.broadcast_to(namespace(a).asarray([1.0, a0]), a.shape)
        return (_log_beta(prior) - _log_beta(a) + ((a - prior) * _expected_log(a)).sum(axis=-1)).sum()

    def _kl_means(self) -> Array:
        """½ Σ_c [D (β₀/β_c − 1 − log β₀/β_c) + β₀ (m_c − m₀)ᵀ E[Λ_c] (m_c − m₀)]."""
        D, beta0 = self.means.shape[1], self.prior.mean_precision
        ratio = beta0 / self.mean_precision
        d = self.means - self.prior.mean
        distance = self._kind.inner(self.covariances, self._kind.pair(d, d))
        return 0.5 * (D * (ratio - 1.0 - np.log(ratio)).sum() + beta0 * distance)

    def _kl_precisions(self) -> Array:
        """Σ KL(Wishart(S⁻¹, ν) ‖ Wishart(S₀⁻¹, ν₀)) over the matrices.

        ½ (ν − ν₀) E[log |Λ|] + ½ ν (tr(S₀ S⁻¹) − r) + ½ ν log |S| − ½ ν₀ log |S₀| − log Γ_r(ν/2) + log Γ_r(ν₀/2)
        + ½ (ν₀ − ν) r log 2
        """
        r, kind = self._rows, self._kind
        log_det, log_det0 = kind.log_determinants(self.scale), kind.log_determinants(self.prior.scale)
        nu = self.degrees_of_freedom.reshape(
            self.degrees_of_freedom.shape + (1,) * (log_det.ndim - self.degrees_of_freedom.ndim)
        )
        nu0 = self.prior.degrees_of_freedom
        trace = kind.inner(self.covariances, np.broadcast_to(self.prior.scale, self.scale.shape))
        per_matrix = (
            0.5 * (nu - nu0) * (self._log_det_precision() - r * math.log(2.0))
            - 0.5 * nu * r
            + 0.5 * (nu * log_det - nu0 * log_det0)
            - _log_gamma(0.5 * nu, r)
            + _log_gamma(0.5 * nu0 + np.zeros_like(nu), r)
        )
        return per_matrix.sum() + 0.5 * trace

    # Prediction ------------------------------------------------------------------------------------------------------

    def log_predictive(self, x: Array) -> Array:
        """Return log E_q(θ)[p(x_n | θ)], shape (N,): a mixture of Student laws (Bishop, 10.81).

        Of a Dirichlet process, given that z_n is one of the C components that q has. Neither a lower nor an upper bound
        on log p(x_n | X), for q is not the posterior.
        """
        self.check_data(x)
        spread = 1.0 + 1.0 / self.mean_precision
        if self.covariance_type == "diag":
            scale = spread[:, None] * self.scale
            squares = np.square(x.T - self.means[:, :, None]) / scale[:, :, None]
            log_p = _log_student(squares, self.degrees_of_freedom[:, None], np.log(scale), 1).sum(axis=1)
        else:  # tails are heavy: no kernel that leaves out what is negligible under Gaussian ones
            whitened = WHITENED[self.covariance_type](0.0 * spread, self.means, self._kind.factor(self.scale))
            table, _ = whitened(x)
            D, log_det = self.means.shape[1], self._of_component(self._kind.log_determinants(self.scale))
            df = self.degrees_of_freedom + 1.0 - self._rows
            log_p = _log_student(-2.0 * table / spread[:, None], df, log_det + D * np.log(spread), D)
        return np.logsumexp(np.log(self.weights)[:, None] + log_p, axis=0)


def _along_sticks(log_shares: Array) -> Array:
    """log v_c + Σ_b<c log (1 − v_b), from the logarithms of v and 1 − v in columns."""
    left = np.concatenate([np.zeros_like(log_shares[:1, 1]), np.cumsum(log_shares[:-1, 1])])
    return log_shares[:, 0] + left


def _log_student(squares: Array, df: Array, log_det: Array, D: int) -> Array:
    """The log density of Student's law in D dimensions, of squared distance `squares` · df (…, n) and log |df Σ|."""
    log_norm = gammaln(0.5 * (df + D)) - gammaln(0.5 * df) - 0.5 * (D * math.log(math.pi) + log_det)
    return np.expand_dims(log_norm, -1) - 0.5 * np.expand_dims(df + D, -1) * np.log1p(squares)


def _expected_log(concentration: Array) -> Array:
    """E[log π] under a Dirichlet law: ψ(α_c) − ψ(Σ α)."""
    return digamma(concentration) - digamma(concentration.sum(axis=-1, keepdims=True))


def _log_beta(concentration: Array) -> Array:
    """log B(α) = Σ_c log Γ(α_c) − log Γ(Σ_c α_c), the normaliser of a Dirichlet law."""
    return gammaln(concentration).sum(axis=-1) - gammaln(concentration.sum(axis=-1))


def _log_gamma(a: Array, r: int) -> Array:
    """log Γ_r(a) − ¼ r (r − 1) log π = Σ_i log Γ(a − i/2), i = 0 … r − 1."""
    return gammaln(a[..., None] - 0.5 * namespace(a).arange(r)).sum(axis=-1)
