"""The linear-Gaussian model: N1 where the integral can be done. Probabilistic PCA, and factor analysis."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array
from minilvm.distributions import Independent, MultivariateNormal, Normal
from minilvm.models.base import LatentVariableModel, check_data


@dataclass(frozen=True, eq=False)
class LinearGaussian(LatentVariableModel):
    """z ~ N(0, I),  x | z ~ N(W z + b, Ψ),  Ψ = diag ψ.

        p(x) = N(b, W Wᵀ + Ψ),   p(z | x) = N(Λ⁻¹ Wᵀ Ψ⁻¹ (x − b), Λ⁻¹),   Λ = I + Wᵀ Ψ⁻¹ W

    The oracle of the laboratory: every bound and every gap has an exact value on it (docs/notes.md, chapters 1 and 9).
    With one ψ for all features it is probabilistic PCA (Tipping and Bishop, *JRSS B* 61, 1999), with one for each it is
    factor analysis (Rubin and Thayer, *Psychometrika* 47, 1982).

    Parameters
    ----------
    weights
        W, shape (D, L).
    bias
        b, shape (D,).
    noise_variance
        ψ > 0, shape (D,), or () where one serves all features.
    """

    weights: Array
    bias: Array
    noise_variance: Array

    @classmethod
    def random(cls, n_latents: int, n_features: int, *, noise: float = 0.5, rng: Any) -> LinearGaussian:
        """Return a model with standard normal W and b, and noise of standard deviation `noise`."""
        generator = backend.default_rng(rng)
        weights = generator.standard_normal((n_features, n_latents))
        return cls(weights, generator.standard_normal(n_features), np.full_like(weights, noise**2, shape=(n_features,)))

    @classmethod
    def principal_components(cls, x: Array, n_latents: int) -> LinearGaussian:
        """Return the maximum-likelihood model with one ψ for all features: probabilistic PCA, in closed form.

        With λ_1 ≥ … ≥ λ_D and u_1 … u_D the eigenvalues and -vectors of the data's covariance, ψ is the mean of
        λ_{L+1} … λ_D and the columns of W are √(λ_l − ψ) u_l. (Tipping and Bishop 1999, eqs 7 and 8.)

        Raises
        ------
        ValueError
            Not 0 < L < D, or the data lie in a plane of L dimensions: ψ would be 0.
        """
        check_data(x)
        if not 0 < n_latents < x.shape[1]:
            raise ValueError(f"n_latents is {n_latents}; expected 1 to {x.shape[1] - 1}, fewer than the features of x")
        bias = x.mean(axis=0)
        centred = x - bias
        variances, directions = np.linalg.eigh(centred.T @ centred / len(x))  # in ascending order
        noise_variance = variances[:-n_latents].mean()
        if not bool(noise_variance > 16.0 * np.finfo(variances.dtype).eps * variances[-1]):
            raise ValueError(f"x has no variance beyond {n_latents} dimensions, so no noise fits it: use fewer latents")
        scales = np.sqrt(variances[-n_latents:] - noise_variance)
        return cls(directions[:, -n_latents:] * scales, bias, noise_variance)

    @classmethod
    def factor_analysis(cls, x: Array, n_latents: int, *, max_iter: int = 1000, tol: float = 1e-10) -> LinearGaussian:
        """Return a maximum-likelihood model with a ψ for each feature: factor analysis, by EM from the principal axes.

        It stops when a step raises log p(x) by less than `tol` nats per datum. Raises what `principal_components` does.
        """
        start = cls.principal_components(x, n_latents)
        model = dataclasses.replace(start, noise_variance=start.noise_variance * np.ones_like(start.bias))
        reached = model.log_marginal(x).mean()
        for _ in range(max_iter):
            model = model.em_step(x)
            before, reached = reached, model.log_marginal(x).mean()
            if bool(reached - before < tol):
                break
        return model

    @property
    def prior(self) -> Independent:
        """p(z) = N(z; 0, I)."""
        zeros = np.zeros_like(self.weights, shape=self.weights.shape[1:])
        return Independent(Normal(zeros, np.ones_like(zeros)), 1)

    def likelihood(self, z: Array) -> Independent:
        """p(x | z) = N(x; W z + b, Ψ)."""
        return Independent(Normal(z @ self.weights.T + self.bias, np.sqrt(self.noise_variance)), 1)

    def posterior(self, x: Array) -> MultivariateNormal:
        """p(z | x) = N(Λ⁻¹ Wᵀ Ψ⁻¹ (x − b), Λ⁻¹), batch shape (N,): all data share one covariance."""
        check_data(x, len(self.weights))
        projection = self.weights.T / self.noise_variance  # Wᵀ Ψ⁻¹
        precision = projection @ self.weights + backend.namespace(projection).eye(
            self.weights.shape[1], dtype=projection.dtype
        )
        mean = np.linalg.solve(precision, projection @ (x - self.bias).T).T
        return MultivariateNormal(mean, precision_matrix=precision)

    def log_marginal(self, x: Array) -> Array:
        """log p(x) = log p(x, z) − log p(z | x) by Bayes' rule, which holds at every z: shape (N,).

        At the posterior mean no digits cancel, however small the noise, and no D × D matrix is needed.
        """
        posterior = self.posterior(x)
        return self.log_joint(x, posterior.mean) - posterior.log_prob(posterior.mean)

    def em_step(self, x: Array) -> LinearGaussian:
        """Return the model after one step of EM, with b the mean of the data: log p(x) rises, or is stationary.

        E-step: m_n and S, the mean and covariance of p(z | x_n). M-step, with c_n = x_n − b:

            W ← (Σ_n c_n m_nᵀ) (Σ_n m_n m_nᵀ + N S)⁻¹,   ψ ← diag of (1/N) Σ_n (c_n − W m_n)(c_n − W m_n)ᵀ + W S Wᵀ

        and the mean of these ψ where one serves all features. (Rubin and Thayer 1982; Bishop 2006, §12.2.4.)
        """
        bias = x.mean(axis=0)
        posterior = dataclasses.replace(self, bias=bias).posterior(x)
        centred, m, S = x - bias, posterior.mean, posterior.covariance_matrix[0]
        weights = np.linalg.solve(m.T @ m + len(x) * S, m.T @ centred).T
        variances = np.square(centred - m @ weights.T).mean(axis=0) + ((weights @ S) * weights).sum(axis=1)
        return LinearGaussian(weights, bias, variances if self.noise_variance.ndim else variances.mean())
