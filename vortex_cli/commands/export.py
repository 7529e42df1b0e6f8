"""`vortex export`: a version as an ONNX file, proven against the network that it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import GateRefused, UsageError
from vortex_cli import console, wording
from vortex_cli.parameters import Precision, Target, VersionName

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.table import Table

    from pipelines.hub.exports import Form
    from pipelines.ship.export.layers import LayerReport
    from registry.records import Export
    from validation.checks import Check

ROWS = 8
"""Tensors and parts that are shown."""


def export(
    version: VersionName,
    precision: Precision = "fp32",
    target: Target = "host",
    check: Annotated[bool, typer.Option("--check", help="Have NVIDIA's own parser and builder take it (TensorRT-RTX).")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Find the layers that need fp32, and export fp16 with the rest.")] = False,
) -> None:
    """Write a version as ONNX at the size it was trained at, and measure how far it is from the trained network.

    Both run on the frames that judge the version's domain; where those are not here, on seeded noise, which proves nothing to a gate. A
    file of less than fp32 is judged on the whole exam too, metric by metric; 8-bit ranges are measured on the version's training frames.
    Exit 3 when the two differ by more than validation/policies.yaml allows, or when no real frame was there to compare them on.

    Example: vortex export v10 --precision fp16 --target jetson
    """
    from pipelines.hub.exports import file_checks, form_named, speed_checks
    from pipelines.hub.open import hub
    from pipelines.ship.export.layers import find_layers
    from pipelines.ship.export.run import export as write
    from pipelines.ship.export.run import export_path

    form = form_named(precision, target)
    if debug and form.precision != "fp16":
        raise UsageError(f"--debug looks for the layers that FP16 does not hold, and this is {form}", "add --precision fp16")
    ws = console.workspace()
    report = find_layers(ws, version, on_step=console.note) if debug else None
    parts = report.fp32_parts if report else None
    exported = write(ws, version, form, fp32_parts=parts, check=check, on_step=console.note)
    checks = file_checks(exported)
    registry = hub(ws)
    path = export_path(ws, registry.get(version), form)
    payload = {"version": version, "path": path, **vars(exported), "passed": all(check.passed for check in checks)}
    if not console.session.json:
        console.emit(None, *_layers(version, report), _title(version, form, exported))
    console.emit_checks(payload | ({"layers": report} if report else {}), map(_line, checks))
    _remark(exported, path, report)
    for speed in speed_checks(ws, registry, registry.get(version), exported):
        console.note(
            f"{form} is {'offered' if speed.passed else 'not offered: no stage beyond candidate takes it'}: {speed.found}; {speed.asked}"
        )
    _refuse(version, form, exported, checks)


def _title(version: str, form: Form, exported: Export) -> str:
    frames = "seeded noise: no frames that judge its domain are here" if exported.parity_on == "noise" else exported.parity_on
    size = wording.size(exported.size or ())
    return (
        f"{version} as ONNX, {form}, opset {exported.opset}, input 1x3x{size}, {wording.megabytes(exported.artifact.bytes)}; "
        f"compared on {exported.frames} frames of {frames}"
    )


def _line(check: Check) -> console.CheckLine:
    state = ("pass", "green") if check.passed else ("FAIL", "bold red")
    return console.CheckLine(*state, f"{check.name}: {check.found}", check.asked)


def _layers(version: str, report: LayerReport | None) -> Iterator[Table]:
    """What --debug found: the largest tensors, and which parts in fp32 help most."""
    if report is None:
        return
    yield console.table(
        ("tensor", "part", "largest", "below 6.1e-05", ""),
        [
            (each.tensor, each.part, f"{each.largest:.3g}", f"{each.subnormal:.1%}", console.verdict(not each.overflows))
            for each in report.ranges[:ROWS]
        ],
        f"{version}: the largest of {len(report.ranges)} tensors; FP16 ends at 65504",
    )
    if report.trials:
        beside = f"beside {', '.join(report.needed)}, which FP16 cannot hold, " if report.needed else ""
        yield console.table(
            ("part in fp32", "near RMSE and glass IoU off by"),
            [(trial.part, _damage(trial.damage)) for trial in report.trials[:ROWS]],
            f"which part helps most {beside}on training frames; with nothing in fp32: {_damage(report.damage)}",
        )


def _damage(share: float) -> str:
    return f"{share:.2%}" if share < float("inf") else "not finite"


def _remark(exported: Export, path: Path, report: LayerReport | None) -> None:
    from pipelines.hub.exports import FP32_PARTS

    if exported.detail["host_only"]:
        console.note(f"{wording.size(exported.size or ())} runs on hosts only: a Jetson takes 240x320")
    if FP32_PARTS in exported.detail:
        console.note(f"these parts stay in fp32: {', '.join(exported.detail[FP32_PARTS])}")
    if report and report.fp32_parts is None:
        console.note("no mixed file passes, whichever parts are in fp32: ship it as fp32")
    console.note(f"file: {path}")


def _refuse(version: str, form: Form, exported: Export, checks: Sequence[Check]) -> None:
    """Raise GateRefused where no stage beyond candidate takes the file; too few frames are remarked on."""
    from pipelines.hub.exports import FP32_PARTS, on_too_few_frames
    from validation.promotion.gate import Undecided

    failed = [check for check in checks if not check.passed]
    if not form.lossy and on_too_few_frames(exported):
        console.note(f"compared on too few frames for any stage beyond candidate: {checks[0].asked}")
    elif failed:
        words = f"{failed[0].name}: {failed[0].found}" if form.lossy else failed[0].found
        if all(isinstance(check, Undecided) for check in failed):
            hint = "a person may decide when it is promoted: --override --reason; or measure on more, and more different, frames"
        else:
            mixed = form.precision == "fp16" and FP32_PARTS not in exported.detail
            hint = "no stage beyond candidate accepts it" + ("; --debug looks for the layers that need fp32" if mixed else "")
        raise GateRefused(f"{version}: the ONNX file is not proven to answer as the trained network: {words}", f"it is recorded; {hint}")
