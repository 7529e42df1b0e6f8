"""Ways to judge a manifest of frames: Vortex's, great-expectations alone, pandera on polars, and a plain loop.

Run as `python -m benchmarks.rivals.gates NAME FIRST FOLDER`: one process a measurement, so that imports and memory are each one's own. The
rivals read `rows.jsonl` (the manifest's keys with twelve statistics in each row) and ask thirteen questions. Vortex reads the strict
`manifest.jsonl` and the statistics table, and asks everything that it asks of a set, leaks and twins included.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BOUNDS: dict[str, tuple[float, float]] = {
    "depth_bad": (0, 0),
    "depth_valid": (0.25, 1),
    "depth_median": (0.3, 8),
    "depth_p95": (0.5, 15),
    "tof_valid": (0, 1),
    "tof_median": (0.1, 8),
    "tof_p95": (0.1, 12),
    "teacher_valid": (0.3, 1),
    "teacher_median": (0.3, 10),
    "teacher_p95": (0.5, 30),
    "teacher_to_sensor": (0.2, 5),
    "brightness": (5, 250),
}
"""Twelve ranges; the thirteenth question is that `split` is one of four."""
SPLITS = ("train", "gap", "val", "test")


def vortex(folder: Path) -> int:
    """The strict pass over the manifest, then every question over the statistics that were kept."""
    from validation.data_gate import judge_statistics
    from validation.manifest import read_manifest
    from validation.policies import load_policies
    from validation.statistics import load

    rows = sum(1 for _ in read_manifest(folder / "manifest.jsonl"))
    statistics = load(folder / "statistics.parquet")
    assert statistics is not None and len(statistics) == rows
    judgement = judge_statistics(statistics, "room", load_policies())
    assert judgement.passed, [check for check in judgement.checks if not check.passed]
    return rows


def manifest_pass(folder: Path) -> int:
    """The strict pass alone: every key, path, number and duplicate checked."""
    from validation.manifest import read_manifest

    return sum(1 for _ in read_manifest(folder / "manifest.jsonl"))


def great_expectations(folder: Path) -> int:
    """pandas reads the rows, one suite in one run judges them."""
    import os

    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    import pandas as pd

    table = pd.read_json(folder / "rows.jsonl", lines=True)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = context.data_sources.add_pandas("rows").add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    suite = gx.ExpectationSuite(name="rows")
    for column, (low, high) in BOUNDS.items():
        suite.add_expectation(gx.expectations.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high))
    suite.add_expectation(gx.expectations.ExpectColumnValuesToBeInSet(column="split", value_set=list(SPLITS)))
    assert batch.get_batch(batch_parameters={"dataframe": table}).validate(suite).success
    return len(table)


def pandera_polars(folder: Path) -> int:
    """polars reads the rows, a pandera schema judges them."""
    import pandera.polars as pa
    import polars as pl

    table = pl.read_ndjson(folder / "rows.jsonl")
    columns: dict[str, Any] = {name: pa.Column(float, pa.Check.in_range(low, high)) for name, (low, high) in BOUNDS.items()}
    pa.DataFrameSchema({**columns, "split": pa.Column(str, pa.Check.isin(SPLITS))}).validate(table)
    return len(table)


def plain_loop(folder: Path) -> int:
    """json.loads and comparisons, row by row: accepts NaN and duplicate keys."""
    rows = 0
    with open(folder / "rows.jsonl", "rb") as stream:
        for line in stream:
            row = json.loads(line)
            assert row["split"] in SPLITS
            for name, (low, high) in BOUNDS.items():
                assert low <= row[name] <= high
            rows += 1
    return rows


CONTENDERS: dict[str, Callable[[Path], int]] = {
    "vortex, all checks": vortex,
    "vortex, manifest pass": manifest_pass,
    "great-expectations": great_expectations,
    "pandera-polars": pandera_polars,
    "plain loop": plain_loop,
}


def main() -> None:
    """Judge a small FIRST folder, imports included, then FOLDER; print the CPU seconds of both, peak memory and rows as JSON."""
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    logging.disable(logging.INFO)
    run = CONTENDERS[sys.argv[1]]
    started = time.process_time()
    run(Path(sys.argv[2]))
    warm = time.process_time()
    rows = run(Path(sys.argv[3]))
    print(json.dumps({"rows": rows, "first": warm - started, "cpu": time.process_time() - warm, "mb": _peak()}))


def _peak() -> float:
    """Peak memory in MB. `getrusage` would begin with what the parent process held."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
