"""The registry as pandas frames, for notebooks: versions, their figures, and the errors of single frames."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipelines import workspace as workspaces
from pipelines.compare.pooled import METRICS
from pipelines.compare.versions import frame_errors
from pipelines.hub.open import hub
from registry.edges import WeightsEdge
from registry.records import Metrics
from registry.versions import Hub

if TYPE_CHECKING:
    import pandas as pd

SERIES = ("domain", "camera", "protocol", "dataset", "digest")
VERSIONS = (
    "version",
    "number",
    "codename",
    "recipe",
    "weights",
    "domain",
    "height",
    "width",
    "stages",
    "quarantined",
    "adopted",
    "created_at",
    "actor",
    "reason",
    "commit",
)
METRICS_COLUMNS = ("version", *SERIES, "exam", "frames")
ERRORS = ("version", *SERIES, "exam", "frame", "sequence")


class Tables(NamedTuple):
    """What `read` gives.

    `versions` has a row a version; `quarantined` says what bars it from every stage and is empty where nothing does, `adopted` whether
    its checkpoint is of before Vortex. `metrics` has a row a measurement, with a column for each figure (metres, shares). `errors` has a
    row for each frame of each measurement, with `pixels` (valid ones), and what every metric would be of that frame alone. `exam` says
    whether a version may be judged by it.
    """

    versions: pd.DataFrame
    metrics: pd.DataFrame
    errors: pd.DataFrame


def read(
    workspace: Path | str | None = None, *, versions: Collection[str] | None = None, domain: str | None = None, errors: bool = True
) -> Tables:
    """The registry of a workspace as pandas frames; the workspace is the one that the current folder is in unless named.

    `versions` and `domain` read those alone; without `errors` that frame stays empty, and no stored file is opened. Nothing is
    written. Raises VortexError for a version that is not registered, and where stored errors are gone or not whole.
    """
    import pandas as pd

    ws = workspaces.find() if workspace is None else workspaces.load(Path(workspace))
    registry = hub(ws)
    records = registry.versions() if versions is None else [registry.get(name) for name in versions]
    barred = registry.barred()
    rows = [
        (
            record.name,
            record.number,
            record.codename,
            record.recipe,
            next((edge.version for edge in record.parents if isinstance(edge, WeightsEdge)), None),
            record.domain,
            *record.size,
            ", ".join(f"{stage} {channel}" for channel, stage in record.stages),
            "; ".join(str(bar) for bar in barred.get(record.name, ())),
            record.adoption is not None,
            pd.Timestamp(record.created_at),
            record.actor,
            record.reason,
            record.commit,
        )
        for record in records
    ]
    measured = [(record.name, metrics) for record in records for metrics in record.metrics if domain in (None, metrics.domain)]
    figures = [_place(name, metrics) | {"frames": metrics.frames} | metrics.values for name, metrics in measured]
    parts = [_frames(registry, name, metrics) for name, metrics in measured if errors and metrics.errors is not None]
    return Tables(
        pd.DataFrame(rows, columns=list(VERSIONS)),
        pd.DataFrame(figures) if figures else pd.DataFrame(columns=list(METRICS_COLUMNS)),
        pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(ERRORS)),
    )


def _place(version: str, metrics: Metrics) -> dict[str, Any]:
    return {"version": version, **vars(metrics.series), "exam": metrics.series.exam}


def _frames(registry: Hub, version: str, metrics: Metrics) -> pd.DataFrame:
    """The stored errors of one measurement: every metric of each frame alone, NaN where a frame has nothing to judge it by."""
    import pandas as pd

    stored = frame_errors(registry, version, metrics)
    sums = {name: np.asarray(values, np.float64) for name, values in stored.sums.items()}
    values = {name: metric.pool(sums) for name, metric in METRICS.items() if all(part in sums for part in metric.sums)}
    place = {name: [value] * len(stored.ids) for name, value in _place(version, metrics).items()}
    sequences = stored.sequences or [None] * len(stored.ids)
    return pd.DataFrame({**place, "frame": stored.ids, "sequence": sequences, "pixels": sums["count"].astype(np.int64), **values})
