"""`vortex runs`: every training of the workspace, and how it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vortex_cli import console

if TYPE_CHECKING:
    from pipelines.runs.listing import Run


def runs() -> None:
    """List the runs of the workspace, newest first: state, epoch, best validation RMSE, job.

    A run is dead when nothing works on it any more though it has not ended: its process is gone, or its job. What it saved is not lost.

    Example: vortex runs
    """
    from pipelines.runs.listing import runs as every

    listed = every(console.workspace())
    if not listed:
        console.note("no runs yet; begin one with: vortex train v6 --domain DOMAIN")
    numbers: Any = [("epoch", "right"), ("RMSE m", "right")]
    columns = ["run", "state", *numbers, "job", "age", "version"]
    rows = [_row(run) for run in listed]
    console.emit({"runs": listed}, *([console.fitting(columns, rows, ("age", "job", "RMSE m", "version"))] if rows else []))
    if any(run.job and run.slurm is None and run.state != "unreadable" for run in listed):
        console.note("SLURM does not answer: how its jobs are is not known")
    if advice := _advice(listed):
        console.note(advice)


def _row(run: Run) -> list[object]:
    job = None if run.job is None else f"{run.job} {run.slurm or '?'}{f' ({run.reason})' if run.reason else ''}"
    of = f" of {run.stage}" if run.stages > 1 else ""
    return [run.run, run.state, f"{run.epoch}/{run.epochs}{of}", run.best_rmse, job, age(run.age), run.version]


def _advice(listed: list[Run]) -> str:
    broken = next((run for run in listed if run.state in ("dead", "cancelled", "stopped")), None)
    return f"go on with: vortex {'submit' if broken.job else 'train'} --resume {broken.run}" if broken else ""


def age(seconds: float) -> str:
    """A time in its largest whole unit: 45 s, 12 min, 3 h, 2 d."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"
