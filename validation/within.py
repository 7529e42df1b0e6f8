"""Numbers within bounds, as an expectation that compares whole columns: the stock one calls Python for every value.

Importing this imports great-expectations; only `validation.expectations` does, when a suite is run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import ColumnMapMetricProvider, column_condition_partial

if TYPE_CHECKING:
    import pandas as pd


class ColumnValuesWithin(ColumnMapMetricProvider):  # type: ignore[misc]
    """Which values lie within the bounds, ends included. Missing values are not asked."""

    condition_metric_name = "column_values.vortex_within"
    condition_value_keys = ("low", "high")

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls: Any, column: pd.Series, low: float, high: float, **_: Any) -> pd.Series:
        return (column >= low) & (column <= high)


class ExpectColumnValuesWithin(ColumnMapExpectation):  # type: ignore[misc]
    """Every value of the column (or `mostly` of them) lies from `low` to `high`."""

    low: float
    high: float

    map_metric: ClassVar[str] = "column_values.vortex_within"
    success_keys: ClassVar[tuple[str, ...]] = ("low", "high", "mostly")
    args_keys: ClassVar[tuple[str, ...]] = ("column", "low", "high")
