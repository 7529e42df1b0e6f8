"""One validation from the manifest to the record: waivers first, then the statistics, the checks, and the drift."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from core.errors import GateRefused, VortexError
from core.files import read_text_of_user, write_atomic
from core.progress import Progress
from pipelines.validate.across import leaks_across
from pipelines.validate.cached import statistics_of
from pipelines.validate.registration import registration_of
from pipelines.validate.validation_report import DataReport, Reference, record_path, record_text, reference_path, reference_sha256, today
from validation import waivers
from validation.data_gate import all_ignore_batch, judge_statistics
from validation.policies import load_policies
from validation.profile import checks, compare, parse, profile
from validation.questions import names
from validation.registration import check

if TYPE_CHECKING:
    from pipelines.data.datasets import DataRef
    from pipelines.workspace import Workspace
    from validation.checks import Check
    from validation.profile import Profile

BATCH_SIZE = 16
"""The lineage's batch: what the probability of an all-ignore batch is shown for."""


def validate(
    ws: Workspace,
    ref: DataRef,
    *,
    kind: str | None = None,
    as_reference: bool = False,
    progress: Progress | None = None,
    workers: int = 1,
) -> DataReport:
    """Judge a dataset by the bounds of its kind and keep the report in the workspace's build folder.

    `kind` judges by other bounds for once; such a report is kept apart and never lets the set into training. With `as_reference` a
    set that passes becomes what later sets of its domain are compared with (`references/DOMAIN.json`). `progress` is called with the
    number of frames done so far and their total. Raises ManifestError for a malformed manifest before anything heavy is imported,
    VortexError for an unknown kind or faulty waivers, and GateRefused when a set that did not pass is to be the reference; bad
    frames are failed checks. Where the build folder cannot be written the set is judged all the same, and the report's `unkept` says why.
    """
    started = time.perf_counter()
    policies = load_policies()
    judged_as = kind or ref.kind
    bounds = policies.data.kind(judged_as)
    waiving = waivers.load_waivers(ws.root / waivers.FILE, names(), today())
    reference = None if as_reference else _reference(ws, ref.domain)
    statistics, read, table = statistics_of(ws, ref, progress=progress, workers=workers)
    judgement = judge_statistics(statistics, judged_as, policies)
    ours = profile(statistics, domain=ref.domain, name=ref.name, digest=ref.digest, kind=judged_as, made=today().isoformat())
    drift = compare(ours, reference, bounds.drift) if reference else ()
    across = leaks_across(ws, ref)
    cameras = registration_of(ws, ref)
    registered = (check(cameras, bounds.registration, declared=not ref.registered),) if cameras else ()
    results = (*judgement.checks, *registered, *((across,) if across else ()), *(checks(drift, statistics, reference) if reference else ()))
    marked, applied = waivers.apply(_shortened(results, ref), waiving, ref.name, today())
    fit = all(check.ok for check in marked)
    if as_reference:
        _keep(ws, ours, [check.name for check in marked if not check.passed], own=judged_as == ref.kind)
        reference = ours
    report = DataReport(
        name=ref.name,
        domain=ref.domain,
        digest=ref.digest,
        kind=judged_as,
        use="evaluation" if judgement.evaluation else "training",
        frames=judgement.frames,
        labelled=judgement.labelled,
        splits=dict(judgement.splits),
        all_ignore_batch=all_ignore_batch(judgement.train_labelled, BATCH_SIZE),
        checks=marked,
        drift=drift,
        reference=_as_reference(ws, reference) if reference else None,
        waivers=applied,
        passed=fit,
        seconds=round(time.perf_counter() - started, 3),
        read=read,
        manifest=str(ref.manifest),
        statistics=str(table) if table else "",
        policies=policies.data.digest,
    )
    try:
        write_atomic(record_path(ws, ref, judged_as), record_text(report))
    except VortexError as error:
        return replace(report, unkept=error.message)
    return report


def _shortened(checks: tuple[Check, ...], ref: DataRef) -> tuple[Check, ...]:
    """Paths as the manifest names them: the same on every machine, and short enough for a table."""
    root = f"{ref.root}{os.sep}"
    return tuple(
        replace(check, found=check.found.replace(root, ""), reasons=tuple(reason.replace(root, "") for reason in check.reasons))
        if ref.root.name
        else check
        for check in checks
    )


def _reference(ws: Workspace, domain: str) -> Profile | None:
    path = reference_path(ws, domain)
    if not path.is_file():
        return None
    try:
        text = read_text_of_user(path)
    except (OSError, UnicodeDecodeError) as error:
        raise VortexError(f"{path}: cannot be read ({error})", "restore it with git, or remove it") from error
    reference = parse(text, str(path))
    if reference.domain != domain:
        raise VortexError(f"{path}: is the reference of {reference.domain!r}, allowed: of {domain!r}", "restore it with git, or remove it")
    return reference


def _keep(ws: Workspace, ours: Profile, failed: list[str], *, own: bool) -> None:
    """Write the reference. Raises GateRefused unless every check passed by itself, by the bounds of the domain's own kind."""
    if failed or not own:
        why = f"{len(failed)} checks say no: {', '.join(failed)}" if failed else f"it was judged as {ours.kind}, not as its own kind"
        raise GateRefused(
            f"{ours.name} cannot be the reference of {ours.domain}: {why}",
            "a reference must pass without waivers: see `vortex validate` without --as-reference, mend the set, and try again",
        )
    write_atomic(reference_path(ws, ours.domain), ours.json())


def _as_reference(ws: Workspace, profile: Profile) -> Reference:
    path = reference_path(ws, profile.domain)
    return Reference(profile.name, profile.digest, profile.made, profile.frames, str(path), reference_sha256(ws, profile.domain) or "")
