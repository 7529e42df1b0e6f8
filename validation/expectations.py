"""The data gate's questions as one great-expectations suite, run once over one row of statistics a frame.

One suite in one run costs a tenth of calling each expectation (measured); it is built anew from the bounds of a kind each time, in
an ephemeral context, so that nothing of it is ever stored, and nothing is reported to anyone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from core.classes import CLASSES, IGNORE
from validation.checks import Check
from validation.frames import MAPS
from validation.policies import Bounds, DataPolicy, Kind, MapBounds

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 5
"""Example frames named with a check."""
NO_BOUNDS = Bounds()


@dataclass(frozen=True)
class Question:
    """One named check over one column.

    `empty`: the column holds reasons and must hold none; `contains`: it must hold these `values`; `between`: its numbers keep the
    `bounds`, shown in `unit`.
    """

    name: str
    column: str
    asked: str
    form: Literal["empty", "contains", "between"] = "empty"
    bounds: Bounds = NO_BOUNDS
    unit: str = ""
    values: tuple[str, ...] = ()


def judge(table: pd.DataFrame, kind: Kind, policy: DataPolicy) -> tuple[Check, ...]:
    """Ask every question that applies to these frames, in one run, and return one check a question."""
    asked = [question for question in questions(kind, policy) if _applies(question, table)]
    results = _run(table, [(question, expectation) for question in asked for expectation in _expectations(question, policy.most_share)])
    return tuple(_check(question, table, results[question.name]) for question in asked)


def questions(kind: Kind, policy: DataPolicy) -> Iterator[Question]:
    """Everything the gate can ask, in the order it is reported."""
    yield Question("splits-present", "split", f"frames in: {', '.join(policy.required_splits)}", "contains", values=policy.required_splits)
    yield Question("files-present", "missing", "every named file exists")
    yield Question("files-readable", "unreadable", "every file decodes whole, in its role's format")
    if kind.sizes == "equal":
        yield Question("sizes-agree", "sizes", "all maps of a frame have its picture's size")
    else:
        yield Question("sizes-agree", "aspect", "all maps of a frame have its picture's proportions")
    yield Question("units-metric", "relative", "no relative depth as metric supervision")
    for name in MAPS:
        bounds: MapBounds = getattr(kind, name)
        yield Question(f"{name}-finite", f"{name}_bad", "no NaN, infinite or negative pixel", "between", Bounds(every=(0, 0)), "pixels")
        yield _within(f"{name}-valid", f"{name}_valid", bounds.valid, policy, "%")
        yield _within(f"{name}-median", f"{name}_median", bounds.median, policy, "m")
        yield _within(f"{name}-p95", f"{name}_p95", bounds.p95, policy, "m")
    yield _within("teacher-to-sensor", "teacher_to_sensor", kind.teacher_to_sensor, policy, "×")
    yield _within("teacher-rank", "teacher_rank", kind.teacher_rank, policy, "")
    yield _within("tof-to-depth", "tof_to_depth", kind.tof_to_depth, policy, "×")
    yield Question("label-ids", "labels", f"class ids 0–{len(CLASSES) - 1} or {IGNORE}")
    yield Question("labels-as-declared", "unlabelled", "full: labels in every frame; partial: in some")
    yield Question("no-copies", "copy_of", "no picture twice in a split")
    yield Question("no-leaks", "leaks_from", "no training picture in val or test")
    yield Question("splits-apart", "beside", "val and test not interleaved with training frames of a sequence")


def _within(name: str, column: str, bounds: Bounds, policy: DataPolicy, unit: str) -> Question:
    parts = [
        f"{who} {_range(limits, unit)}"
        for who, limits in (("each frame", bounds.every), (f"{policy.most_share:.0%} of frames", bounds.most), ("median", bounds.median))
        if limits is not None
    ]
    return Question(name, column, ", ".join(parts), "between", bounds, unit)


def _applies(question: Question, table: pd.DataFrame) -> bool:
    """A bound on a map that no frame has, or on labels that none declares, is no question; nor is a bound that is not set."""
    if question.form == "between":
        return bool(table[question.column].notna().any()) and question.bounds != NO_BOUNDS
    if question.column in ("labels", "unlabelled"):
        return bool((table["supervision"] != "none").any())
    if question.column == "relative":
        return bool(table["teacher_bad"].notna().any())
    return True


def _expectations(question: Question, most_share: float) -> Iterator[Any]:
    import great_expectations.expectations as gxe

    common = {"column": question.column, "meta": {"check": question.name}}
    if question.form == "empty":
        yield gxe.ExpectColumnValuesToBeNull(**common)
    elif question.form == "contains":
        yield gxe.ExpectColumnDistinctValuesToContainSet(value_set=list(question.values), **common)
    else:
        bounds = question.bounds
        if bounds.every:
            yield gxe.ExpectColumnValuesToBeBetween(min_value=bounds.every[0], max_value=bounds.every[1], **common)
        if bounds.most:
            yield gxe.ExpectColumnValuesToBeBetween(min_value=bounds.most[0], max_value=bounds.most[1], mostly=most_share, **common)
        if bounds.median:
            yield gxe.ExpectColumnMedianToBeBetween(min_value=bounds.median[0], max_value=bounds.median[1], **common)


def _run(table: pd.DataFrame, asked: Sequence[tuple[Question, Any]]) -> dict[str, list[Any]]:
    """Results of the suite, by check name. Raises RuntimeError when the engine itself failed: that is no verdict on the data."""
    gx = _engine()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = context.data_sources.add_pandas("frames").add_dataframe_asset("statistics").add_batch_definition_whole_dataframe("all")
    suite = gx.ExpectationSuite(name="frames", expectations=[expectation for _, expectation in asked])
    outcome = batch.get_batch(batch_parameters={"dataframe": table}).validate(
        suite, result_format={"result_format": "SUMMARY", "partial_unexpected_count": SHOWN, "unexpected_index_column_names": ["id"]}
    )
    results: dict[str, list[Any]] = {question.name: [] for question, _ in asked}
    for result in outcome.results:
        raised = result.exception_info or {}
        if raised.get("raised_exception", any(isinstance(part, dict) and part.get("raised_exception") for part in raised.values())):
            raise RuntimeError(f"great-expectations failed on {result.expectation_config.meta['check']}: {raised}")
        results[result.expectation_config.meta["check"]].append(result)
    return results


def _engine() -> Any:
    """great-expectations with its telemetry off: it reads the switch when it is imported."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations

    return great_expectations


def _check(question: Question, table: pd.DataFrame, results: Sequence[Any]) -> Check:
    passed = all(result.success for result in results)
    frames: list[str] = []
    outside = 0
    for result in results:
        if not result.success:
            outside = max(outside, int(result.result.get("unexpected_count") or 0))
            frames += [str(row["id"]) for row in result.result.get("partial_unexpected_index_list") or ()]
    if question.form == "contains":
        counts = table["split"].value_counts()
        found = ", ".join(f"{split} {counts[split]}" for split in ("train", "gap", "val", "test") if split in counts) or "no frames"
    elif question.form == "empty":
        found = _reasons(question, table, results)
    else:
        found = _numbers(question, table, outside)
        if not passed and not frames:
            frames = _farthest(question, table)
    return Check(question.name, question.asked, found, passed, tuple(dict.fromkeys(frames))[:SHOWN])


def _reasons(question: Question, table: pd.DataFrame, results: Sequence[Any]) -> str:
    counts = {"copy_of": "copies", "leaks_from": "leaks", "beside": "between training frames"}
    result = results[0].result
    count = int(result.get("unexpected_count") or 0)
    if not count:
        return "no fault"
    first = result["partial_unexpected_list"][0]
    same = {"copy_of": f"same picture as {first}", "leaks_from": f"same picture as {first} of train", "beside": f"next to {first}"}
    return f"{count} of {len(table)} frames{': ' if question.column not in counts else ', the first: '}{same.get(question.column, first)}"


def _numbers(question: Question, table: pd.DataFrame, outside: int) -> str:
    column = table[question.column].dropna()
    if question.unit == "pixels":
        return f"{int(column.sum())} such pixels in {outside} of {len(column)} frames" if outside else f"none in {len(column)} frames"
    low, middle, high = column.min(), column.median(), column.max()
    text = f"{_range((low, high), question.unit)}, median {_number(middle, question.unit)}"
    return f"{text}; {outside} of {len(column)} frames outside" if outside else text


def _farthest(question: Question, table: pd.DataFrame) -> list[str]:
    """Frames that pull a median out of its range: the ones farthest outside."""
    low, high = question.bounds.median or (float("-inf"), float("inf"))
    column = table[question.column]
    distance = (low - column).clip(lower=0) + (column - high).clip(lower=0)
    worst = distance[distance > 0].sort_values(ascending=False).index[:SHOWN]
    return [str(name) for name in table.loc[worst, "id"]]


def _range(limits: tuple[float, float], unit: str) -> str:
    if unit == "%":
        return f"{limits[0] * 100:.0f}–{limits[1] * 100:.0f} %"
    return f"{limits[0]:.3g}–{limits[1]:.3g} {unit}".rstrip()


def _number(value: float, unit: str) -> str:
    return f"{value * 100:.0f} %" if unit == "%" else f"{value:.3g} {unit}".rstrip()
