"""The data gate's questions as one great-expectations suite, run once over one row of statistics a frame.

One suite in one run costs a tenth of calling each expectation (measured); it is built anew from the bounds of a kind each time, in
an ephemeral context, so that nothing of it is ever stored, and nothing is reported to anyone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from core.classes import CLASSES
from validation.checks import Check
from validation.policies import DataPolicy, Kind
from validation.questions import Question, limits, number, questions

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # great-expectations reads it while it is imported

import great_expectations as gx
import great_expectations.expectations as gxe

from validation.within import ExpectColumnValuesWithin

SHOWN = 5
"""Example frames named with a check."""


def judge(table: pd.DataFrame, kind: Kind, policy: DataPolicy, *, evaluation: bool = False) -> tuple[Check, ...]:
    """Ask every question that applies to these frames (`validation.table.suite_table`), in one run; one check a question."""
    applicable = [question for question in questions(kind, policy, evaluation=evaluation) if question.applies(table)]
    columns = dict.fromkeys(["id", *(column for question in applicable for column in _columns(question))])
    suite = [(question, expectation) for question in applicable for expectation in _expectations(question, policy.most_share)]
    results = _run(table[list(columns)], suite)
    return tuple(_check(question, table, results[question.name]) for question in applicable)


def _columns(question: Question) -> Sequence[str]:
    return CLASSES if question.form == "means" else (question.column,)


def _expectations(question: Question, most_share: float) -> Iterator[Any]:
    meta = {"check": question.name}
    common = {"column": question.column, "meta": meta}
    if question.form == "empty":
        yield gxe.ExpectColumnValuesToBeNull(mostly=1 - question.share, **common)
    elif question.form == "contains":
        yield gxe.ExpectColumnDistinctValuesToContainSet(value_set=list(question.values), **common)
    elif question.form == "means":
        for column, (low, high) in zip(CLASSES, question.ranges, strict=True):
            yield gxe.ExpectColumnMeanToBeBetween(column=column, min_value=low, max_value=high, meta=meta)
    else:
        bounds = question.bounds
        if bounds.every:
            yield ExpectColumnValuesWithin(low=bounds.every[0], high=bounds.every[1], **common)
        if bounds.most:
            yield ExpectColumnValuesWithin(low=bounds.most[0], high=bounds.most[1], mostly=most_share, **common)
        if bounds.median:
            yield gxe.ExpectColumnMedianToBeBetween(min_value=bounds.median[0], max_value=bounds.median[1], **common)


def _run(table: pd.DataFrame, suite: Sequence[tuple[Question, Any]]) -> dict[str, list[Any]]:
    """Results of the suite, by check name; the frames that speak against one are looked up only where it failed.

    Raises RuntimeError when the engine itself failed: that is no verdict on the data.
    """
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    definition = context.data_sources.add_pandas("frames").add_dataframe_asset("statistics").add_batch_definition_whole_dataframe("all")
    batch = definition.get_batch(batch_parameters={"dataframe": table})

    def run(expectations: list[Any], form: dict[str, Any]) -> list[Any]:
        return list(batch.validate(gx.ExpectationSuite(name="frames", expectations=expectations), result_format=form).results)

    # Two thirds of the time would go into examples of checks that passed.
    verdicts = run([expectation for _, expectation in suite], {"result_format": "BOOLEAN_ONLY"})
    wrong = {_name(result) for result in verdicts if not result.success}
    form = {"result_format": "SUMMARY", "partial_unexpected_count": SHOWN, "unexpected_index_column_names": ["id"]}
    failures = run([expectation for question, expectation in suite if question.name in wrong], form) if wrong else []
    results: dict[str, list[Any]] = {question.name: [] for question, _ in suite}
    for result in (*(verdict for verdict in verdicts if _name(verdict) not in wrong), *failures):
        raised = result.exception_info or {}
        if raised.get("raised_exception", any(isinstance(part, dict) and part.get("raised_exception") for part in raised.values())):
            raise RuntimeError(f"great-expectations failed on {_name(result)}: {raised}")
        results[_name(result)].append(result)
    return results


def _name(result: Any) -> str:
    return str(result.expectation_config.meta["check"])


def _check(question: Question, table: pd.DataFrame, results: Sequence[Any]) -> Check:
    passed = all(result.success for result in results)
    if question.form == "contains":
        counts = table["split"].value_counts()
        answer = ", ".join(f"{split} {counts[split]}" for split in ("train", "gap", "val", "test") if split in counts) or "no frames"
        return Check(question.name, question.asked, answer, passed)
    if question.form == "means":
        return _means(question, table, passed)
    examples, outside = _examples(question, results)
    if question.form == "empty":
        answer = _reasons(question, table)
    else:
        answer = _numbers(question, table, outside)
        if not passed and not examples:
            examples = _farthest(question, table)
    counterexamples = dict(examples[:SHOWN]) if passed is False else {}
    return Check(question.name, question.asked, answer, passed, tuple(counterexamples), tuple(counterexamples.values()))


def _examples(question: Question, results: Sequence[Any]) -> tuple[list[tuple[str, str]], int]:
    """Frames that speak against it with what does, and how many there are."""
    examples: list[tuple[str, str]] = []
    outside = 0
    for result in results:
        if not result.success:
            outside = max(outside, int(result.result.get("unexpected_count") or 0))
            rows = result.result.get("partial_unexpected_index_list") or ()
            examples += [(str(row["id"]), _reason(question, row.get(question.column))) for row in rows]
    return list(dict(examples).items()), outside


_SAME = {
    "copy_of": "same picture as {}",
    "leaks_from": "same picture as {} of train",
    "beside": "next to {}",
    "twin_of": "almost the picture of {}",
    "twin_in_train": "almost the picture of {} of train",
}


def _reason(question: Question, value: Any) -> str:
    if question.form == "empty":
        return _SAME.get(question.column, "{}").format(value)
    return f"{int(value)} such pixels" if question.unit == "pixels" else number(float(value), question.unit)


def _reasons(question: Question, table: pd.DataFrame) -> str:
    count = int(table[question.column].notna().sum())
    if not count:
        return "no fault"
    first = _reason(question, table[question.column].dropna().iloc[0])
    return f"{count} of {len(table)} frames{', the first' if question.column in _SAME else ''}: {first}"


def _numbers(question: Question, table: pd.DataFrame, outside: int) -> str:
    column = table[question.column].dropna()
    if question.unit == "pixels":
        return f"{int(column.sum())} such pixels in {outside} of {len(column)} frames" if outside else f"none in {len(column)} frames"
    low, middle, high = column.min(), column.median(), column.max()
    text = f"{limits((low, high), question.unit)}, median {number(middle, question.unit)}"
    return f"{text}; {outside} of {len(column)} frames outside" if outside else text


def _means(question: Question, table: pd.DataFrame, passed: bool) -> Check:
    """Shares over the set; the examples are the frames with most of the class that is farthest outside."""
    means = {name: float(table[name].mean()) for name in CLASSES}
    beyond = {name: max(low - means[name], means[name] - high) for name, (low, high) in zip(CLASSES, question.ranges, strict=True)}
    worst = max(beyond, key=lambda name: beyond[name])
    answer = ", ".join(f"{name} {number(share, '%')}" for name, share in means.items())
    rows = table.sort_values(worst, ascending=False).head(0 if passed else SHOWN)
    examples = {str(name): f"{worst} {number(float(share), '%')}" for name, share in zip(rows["id"], rows[worst], strict=True)}
    return Check(question.name, question.asked, answer, passed, tuple(examples), tuple(examples.values()))


def _farthest(question: Question, table: pd.DataFrame) -> list[tuple[str, str]]:
    """Frames that pull a median out of its range: the ones farthest outside."""
    low, high = question.bounds.median or (float("-inf"), float("inf"))
    column = table[question.column]
    distance = (low - column).clip(lower=0) + (column - high).clip(lower=0)
    worst = distance[distance > 0].sort_values(ascending=False).index[:SHOWN]
    rows = table.loc[worst]
    return [(str(name), _reason(question, value)) for name, value in zip(rows["id"], rows[question.column], strict=True)]
