"""Tools to check the bounds of your own estimators: exact oracles, laws as assertions, and Hypothesis strategies.

The strategies need Hypothesis, the rest nothing more: `python -m pip install "minilvm[test]"`.
"""

from typing import Any

from minilvm.testing.laws import assert_lower_bound, assert_per_draw_order, assert_unbiased
from minilvm.testing.oracles import AllTuples, all_tuples, expected_bound, expected_estimate

_STRATEGIES = ("gaussian_mixtures", "linear_gaussians", "log_tables", "log_weight_arrays", "sigmoid_belief_networks")

__all__ = [
    "AllTuples",
    "all_tuples",
    "assert_lower_bound",
    "assert_per_draw_order",
    "assert_unbiased",
    "expected_bound",
    "expected_estimate",
    "gaussian_mixtures",
    "linear_gaussians",
    "log_tables",
    "log_weight_arrays",
    "sigmoid_belief_networks",
]


def __getattr__(name: str) -> Any:
    """Import the strategies when one is asked for, so that the laws can be used without Hypothesis."""
    if name not in _STRATEGIES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from minilvm.testing import strategies

    return getattr(strategies, name)
