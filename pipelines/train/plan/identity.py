"""Whether two plans are one: a digest of what they do, without when, where and under which name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import TYPE_CHECKING

from pipelines.recipes.recipe import TOLD

if TYPE_CHECKING:
    from pipelines.train.plan.train_plan import TrainPlan

_OF_THE_RUN = {"run", "number", "claim", "derived", "remarks", "inferred", "resumed", "packs", "address", "source", "read"}


def plan_digest(plan: TrainPlan, without: Collection[str] = ()) -> str:
    """SHA-256 over recipe, data, start, size, device, workers, seed and switches, except the fields `without`.

    Whether data has passed the gate by now is not in it: that changes what a plan may do, not what it does.
    """
    raw = json.loads(plan.model_dump_json(exclude={*_OF_THE_RUN, *without}))
    for told in TOLD:
        del raw["recipe"][told]
    for data in (*(data for stage in raw["stages"] for data in stage["data"]), *raw.get("anchor_data", ())):
        del data["validated"]
    return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()
