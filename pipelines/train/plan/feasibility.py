"""Whether stages can be trained on their data: enough of it, all of it heard, labelled as asked, passed, and as it was."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from core.errors import GateRefused, UsageError, VortexError
from models.encoders import DEEPEST_STRIDE
from pipelines.data.datasets import DataRef, find, resolve
from pipelines.pack.sampler import apart, frames_drawn, share_quotas
from pipelines.recipes.schema import Recipe
from pipelines.train.plan.sources import DataPlan, StagePlan
from pipelines.workspace import Workspace


def require_different(refs: Sequence[DataRef]) -> None:
    """Raise VortexError when a stage names the same frames twice: they would count, and be drawn, twice as often."""
    by_digest: dict[str, DataRef] = {}
    for ref in refs:
        other = by_digest.setdefault(ref.digest, ref)
        if other is not ref:
            same = f"{ref.name} is named twice" if ref.name == other.name else f"{other.name} and {ref.name} hold the same frames"
            raise VortexError(f"{same}: a stage takes every dataset once", "name each once, with --manifest NAME")


def require_feasible(stages: Sequence[StagePlan], recipe: Recipe, target: str, workers: int) -> None:
    """Raise an error unless every stage can be learnt from, judged on `target`, and batched for that many workers (0 is this process)."""
    batch = recipe.optimizer.batch_size
    if workers and batch % workers:
        raise UsageError(f"batches of {batch} cannot be divided among {workers} workers", f"--batch-size {8 * workers}")
    for stage in stages:
        _require_supervision(stage, target)
    _require_judges(stages, target)
    for stage in stages:
        _require_batches(stage, recipe, workers)
        _require_labels(stage, batch)


def require_passed(data: Sequence[DataPlan], failed: Collection[DataRef]) -> None:
    """Raise GateRefused naming every dataset that has not passed validation: it `failed`, or has not been validated."""
    refused = [item for item in data if not item.validated]
    states = {item.name: "failed validation" if item.ref in failed else "has not been validated" for item in refused}
    if not refused:
        return
    raise GateRefused(
        f"{'; '.join(f'{name} {state}' for name, state in states.items())}: training needs data that has passed",
        f"vortex validate {refused[0].manifest if refused[0].ref.outside else refused[0].name} (or --allow-unvalidated, which the version will say)",
    )


def require_unchanged(ws: Workspace, used: Sequence[DataPlan]) -> None:
    """Raise VortexError when a dataset is no longer what the run began with: it could not be the same run."""
    for data in {item.manifest: item for item in used}.values():
        own = (ws.data / data.name) == data.root
        try:
            ref = resolve(ws, name_or_manifest=find(ws, data.name).name if own else str(data.manifest))
        except VortexError as error:
            raise VortexError(f"this run trains on {data.name}: {error.message}", error.hint, error.details) from error
        if ref.digest != data.digest:
            raise VortexError(f"{data.name} has changed since this run began", "restore it (vortex data checkout), or start a new training")


def _require_supervision(stage: StagePlan, target: str) -> None:
    """Raise VortexError unless the stage has frames to train on, and depth to learn from each."""
    names = " + ".join(data.name for data in stage.data)
    if not stage.count("train"):
        raise VortexError(f"{names}: no frame has the split 'train'", _look_at(stage.data[0].name))
    # A set of the target domain may be there to be judged by alone; of any other domain it would only seem to be learnt from.
    filled = {data.domain for data in stage.data if data.frames["train"]} | {target}
    empty = [data.name for data in stage.data if data.domain not in filled]
    if empty:
        raise VortexError(
            f"stage {stage.stage.name} mixes {names}, but {', '.join(empty)}: no frame has the split 'train'", _look_at(empty[0])
        )
    blind = [data.name for data in stage.data if data.targets.get("nothing")]
    if blind:
        raise VortexError(
            f"{', '.join(blind)}: frames without teacher, ToF or reference depth cannot be learnt from",
            f"label them: vortex label {blind[0]} --teachers da3",
        )


def _require_judges(stages: Sequence[StagePlan], target: str) -> None:
    """Raise VortexError unless there are frames of the target domain to be judged by."""
    of_target = [data for stage in stages for data in stage.data if data.domain == target]
    if not of_target:
        domains = sorted({data.domain for stage in stages for data in stage.data})
        raise VortexError(
            f"no data of the target domain {target!r}; the data are of: {', '.join(domains)}", "name one of them with --domain"
        )
    if not any(data.frames["val"] for data in of_target):
        raise VortexError(
            f"{' + '.join(data.name for data in of_target)}: no frame has the split 'val', so no epoch could be called the best",
            "add the data again with a validation split",
        )


def _require_batches(stage: StagePlan, recipe: Recipe, workers: int) -> None:
    """Raise an error when a batch could not be filled, hear every dataset, be shared out, or be normalised."""
    batch, shares, mixing = recipe.optimizer.batch_size, [data.share for data in stage.stage.data], stage.stage.mixing
    counts = [data.frames["train"] for data in stage.data]
    empty = [data.name for data, share in zip(stage.data, shares, strict=True) if share and not data.frames["train"]]
    if empty:
        raise VortexError(
            f"{', '.join(empty)}: no frame has the split 'train', but the stage takes a share of every batch from it", _look_at(empty[0])
        )
    draws = frames_drawn(counts, shares, batch, mixing)
    unheard = [data.name for data, count, frames in zip(stage.data, counts, draws, strict=True) if count and not frames]
    if unheard and mixing == "within_batch":
        message = f"a batch of {batch} cannot hold a share of each of {len(shares)} datasets: none is left for {', '.join(unheard)}"
        raise UsageError(message, "use a larger --batch-size")
    if unheard:
        message = f"stage {stage.stage.name} alternates whole batches of {batch}, and {', '.join(unheard)} would never get one"
        raise UsageError(message, "use a smaller --batch-size, a larger share, or mixing: within_batch")
    size = batch if apart(shares, mixing) else min(batch, sum(counts))
    if workers and size % workers:
        raise UsageError(f"{size} training frames cannot be divided among {workers} workers", "use fewer --workers, or more frames")
    height, width = recipe.student.size
    if size // max(1, workers) == 1 and max(height, width) <= DEEPEST_STRIDE:
        raise UsageError(
            f"one frame of {height}x{width} at a time cannot be normalised: its deepest map is a single value",
            "use a larger --batch-size or --size",
        )


def _require_labels(stage: StagePlan, batch: int) -> None:
    """Raise an error unless every batch can hold as many labelled frames as the stage asks for."""
    count = stage.stage.labelled_per_batch
    if not count:
        return
    asks = f"stage {stage.stage.name} asks for {count} labelled frame(s) in every batch"
    bare = [data.name for data in stage.data if not data.labelled]
    shares = [data.share or 0.0 for data in stage.stage.data]
    if len(bare) == len(stage.data):
        raise VortexError(f"{asks}, but none of {', '.join(bare)} has labels", "vortex label NAME, or set labelled_per_batch: 0")
    if stage.stage.mixing == "alternating" and len(stage.data) > 1:
        room = 0 if bare else batch
    elif not any(shares):
        room = min(batch, stage.count("train"))
    else:
        room = sum(quota for quota, data in zip(share_quotas(shares, batch), stage.data, strict=True) if data.labelled)
    if count > room:
        why = f"of {batch} frames at most {room} can be" if room else f"whole batches come from {', '.join(bare)}, which has none"
        raise UsageError(f"{asks}, but {why}", "use a larger --batch-size, or lower labelled_per_batch in the recipe")


def _look_at(name: str) -> str:
    return f"see what it holds: vortex data show {name}"
