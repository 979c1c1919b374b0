"""Tools to check the bounds of your own estimators: exact oracles, laws as assertions, and Hypothesis strategies.

The strategies need Hypothesis, the rest nothing more: `python -m pip install "minilvm[test]"`.
"""

from typing import Any

from minilvm.testing.laws import (
    assert_lower_bound,
    assert_per_draw_order,
    assert_unbiased,
    assert_unbiased_gradient,
)
from minilvm.testing.oracles import (
    AllTuples,
    all_tuples,
    expected_bound,
    expected_estimate,
    gradient_moments,
)
from minilvm.testing.quadrature import Quadrature, exponential_rule, normal_rule, uniform_rule

_STRATEGIES = ("gaussian_mixtures", "linear_gaussians", "log_tables", "log_weight_arrays", "sigmoid_belief_networks")

__all__ = [
    "AllTuples",
    "Quadrature",
    "all_tuples",
    "assert_lower_bound",
    "assert_per_draw_order",
    "assert_unbiased",
    "assert_unbiased_gradient",
    "expected_bound",
    "expected_estimate",
    "exponential_rule",
    "gaussian_mixtures",
    "gradient_moments",
    "linear_gaussians",
    "log_tables",
    "log_weight_arrays",
    "normal_rule",
    "sigmoid_belief_networks",
    "uniform_rule",
]


def __getattr__(name: str) -> Any:
    """Import the strategies when one is asked for, so that the laws can be used without Hypothesis."""
    if name not in _STRATEGIES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from minilvm.testing import strategies

    return getattr(strategies, name)
