"""What scikit-learn asks of an estimator, so that ours go where its own go, without depending on it.

`get_params` and `set_params` make grid searches and clones possible, `n_features_in_` and `feature_names_in_` keep a
table's columns in order, and what is wrong with the data is said in words that its users know.
"""

from __future__ import annotations

import inspect
import numbers
import sys
import warnings
from typing import Any, Self

import numpy

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array


class NotFittedError(ValueError, AttributeError):
    """An estimator was asked for what it learns only by `fit`."""


class ConvergenceWarning(UserWarning):
    """A fit ended before it settled, or settled on something that its user should look at."""


class Estimator:
    """An object whose parameters are the arguments of `__init__`, stored unchanged, and whose findings end in `_`."""

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return list(inspect.signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - scikit-learn's signature
        """Return the parameters by name; `deep` changes nothing, for no parameter is an estimator."""
        del deep
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name.

        Raises
        ------
        ValueError
            There is no parameter of that name.
        """
        names = self._parameter_names()
        for name, value in params.items():
            if name not in names:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {type(self).__name__}. Valid parameters are: {names}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """Show the parameters that are not at their defaults."""
        defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
        changed = [f"{name}={v!r}" for name, v in self.get_params().items() if repr(v) != repr(defaults[name])]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self) -> Any:
        """Describe the estimator to scikit-learn; only scikit-learn asks."""
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type="density_estimator",
            target_tags=TargetTags(required=False),
            input_tags=InputTags(allow_nan=getattr(self, "missing", None) is not None),
        )

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there are findings, wherever they are from: who knows the parameters may set them by hand."""
        return hasattr(self, "weights_")

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise theirs("NotFittedError", NotFittedError)(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with appropriate arguments "
                "before using this estimator."
            )

    def _check_range(self, name: str, kind: Any, low: float) -> None:
        """Refuse a number that is of another kind, or below its least value."""
        value = getattr(self, name)
        if not isinstance(value, kind) or isinstance(value, bool) or not low <= value < numpy.inf:
            what = "an int" if kind is numbers.Integral else "a float"
            raise ValueError(
                f"The {name!r} parameter of {type(self).__name__} must be {what} in the range [{low}, inf). "
                f"Got {value!r} instead."
            )

    def _check_choice(self, name: str, choices: tuple[Any, ...]) -> None:
        value = getattr(self, name)
        if not any(value is choice or value == choice for choice in choices):
            listed = ", ".join(map(repr, choices))
            raise ValueError(
                f"The {name!r} parameter of {type(self).__name__} must be one of {{{listed}}}. Got {value!r} instead."
            )

    def _table(self, X: Any, *, reset: bool, missing: bool = False) -> Array:
        """Return the data as a floating-point (N, D) array, remembering its columns, or holding it to them.

        float32 and float64 stay what they are; other numbers become float64. `missing` lets NaN pass.
        """
        names = _feature_names(X)
        table = as_table(X, type(self).__name__, missing=missing)
        if reset:
            self.n_features_in_ = int(table.shape[1])
            vars(self).pop("feature_names_in_", None)
            if names is not None:
                self.feature_names_in_ = names
            return table
        self._check_names(names)
        if table.shape[1] != getattr(self, "n_features_in_", table.shape[1]):
            raise ValueError(
                f"X has {table.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} "
                "features as input"
            )
        return table

    def _sample_weight(self, sample_weight: Any, x: Array) -> Array | None:
        """Return the weights as an array (N,) of float64, or None.

        Raises
        ------
        ValueError
            Their shape is not (N,), one is negative, NaN or infinite, or all are 0.
        """
        if sample_weight is None:
            return None
        weights = backend.namespace(x).asarray(sample_weight, dtype=float)
        if weights.ndim == 0:
            weights = np.full_like(weights, weights, shape=(len(x),))
        if weights.shape != (len(x),):
            raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(len(x),)}!")
        wrong = backend.to_numpy(~(np.isfinite(weights) & (weights >= 0)))
        if wrong.any():
            n = int(wrong.argmax())
            raise ValueError(f"sample_weight[{n}] is {float(weights[n])}; expected finite weights, none below 0")
        if not bool((weights > 0).any()):
            raise ValueError("the sample weights are all zero: at least one sample must count")
        return weights

    def _check_names(self, names: Array | None) -> None:
        fitted, law = getattr(self, "feature_names_in_", None), type(self).__name__
        if fitted is None and names is not None:
            warn(f"X has feature names, but {law} was fitted without feature names", UserWarning)
        elif fitted is not None and names is None:
            warn(f"X does not have valid feature names, but {law} was fitted with feature names", UserWarning)
        elif fitted is not None and names is not None and list(fitted) != list(names):
            listed = "\n- ".join
            unseen, gone = sorted(set(names) - set(fitted)), sorted(set(fitted) - set(names))
            details = f"Feature names unseen at fit time:\n- {listed(unseen)}\n" if unseen else ""
            details += f"Feature names seen at fit time, yet now missing:\n- {listed(gone)}\n" if gone else ""
            details = details or "Feature names must be in the same order as they were in fit.\n"
            raise ValueError(f"The feature names should match those that were passed during fit.\n{details}")


def generator_of(random_state: Any, like: Array) -> Any:
    """Return the generator that scikit-learn's `random_state` stands for: a seed, a generator old or new, or None.

    Raises
    ------
    ValueError
        It is none of these.
    """
    if isinstance(random_state, numpy.random.RandomState):
        random_state = int(random_state.randint(2**31 - 1))
    try:
        return backend.default_rng(random_state, like=like)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"random_state is {random_state!r}; expected a seed (an int, at least 0), a numpy.random.Generator or "
            "RandomState, or None"
        ) from error


def as_table(X: Any, law: str, *, missing: bool = False) -> Array:
    """Return X as an array of shape (N, D) of finite float32 or float64 (NaN allowed where `missing`).

    Raises
    ------
    TypeError
        X is sparse, or holds what is no number.
    ValueError
        X is no table of at least one point of one feature; or complex, text, NaN or infinite.
    """
    if hasattr(X, "toarray"):
        raise TypeError("Sparse data was passed, but dense data is required. Use '.toarray()' to convert it.")
    if isinstance(X, numpy.ma.MaskedArray):
        X = numpy.ma.filled(X.astype(float), numpy.nan)  # what is masked is missing
    table = X if backend.namespace(X) is not numpy else numpy.asarray(X)
    if table.dtype == object and hasattr(getattr(X, "dtypes", None), "items"):
        table = _of_frame(X)
    if table.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: X has dtype {table.dtype}")
    if table.dtype.kind in "USMm":
        raise ValueError(f"X has dtype {table.dtype}; expected numbers")
    if table.dtype not in {numpy.dtype("float32"), numpy.dtype("float64")}:
        table = table.astype(float)
    if table.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {table.ndim}D array instead: shape {table.shape}. Reshape your data with "
            "X.reshape(-1, 1) if it has a single feature, or X.reshape(1, -1) if it is a single sample."
        )
    for size, what in zip(table.shape, ("sample(s)", "feature(s)"), strict=True):
        if size == 0:
            raise ValueError(
                f"Found array with 0 {what} (shape={table.shape}) while a minimum of 1 is required by {law}."
            )
    _check_finite(table, law, missing=missing)
    return table


def _of_frame(X: Any) -> Array:
    """The numbers of a data frame of pandas whose columns are of several kinds, NaN where they are `pandas.NA`."""
    if times := [name for name, dtype in X.dtypes.items() if getattr(dtype, "kind", "") in {"m", "M"}]:
        raise ValueError(f"X has times in column {times[0]!r}; expected numbers")
    return X.to_numpy(dtype=float, na_value=numpy.nan)


def _check_finite(table: Array, law: str, *, missing: bool) -> None:
    extremes = table if missing else numpy.stack([table.min(), table.max()])  # either is NaN if anything is
    if not missing and bool(numpy.isnan(extremes).any()):
        raise ValueError(f'Input X contains NaN: {law} refuses it unless missing="marginalize".')
    if bool(numpy.isinf(extremes).any()):
        raise ValueError("Input X contains infinity.")


def _feature_names(X: Any) -> Array | None:
    """The names of a data frame's columns, if all of them are strings."""
    columns = getattr(X, "columns", None)
    if columns is None:
        return None
    strings = [isinstance(name, str) for name in columns]
    if any(strings) and not all(strings):
        raise TypeError("Feature names are only supported if all input features have string names: convert the others")
    return numpy.asarray(list(columns), dtype=object) if all(strings) else None


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the line that called into this package, however deep inside it the reason was found."""
    frame, depth = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith(__package__):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, category, stacklevel=depth)


def theirs(name: str, ours: type) -> Any:
    """scikit-learn's class of that name where scikit-learn is in use: its users catch that one."""
    return getattr(sys.modules.get("sklearn.exceptions"), name, ours)
