"""`vortex export`: a version as an ONNX file, proven against the network that it came from."""

from __future__ import annotations

from typing import Annotated

import typer

from core.errors import GateRefused
from vortex_cli import console, wording
from vortex_cli.completion import complete_versions


def export(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A registered version.", autocompletion=complete_versions)],
) -> None:
    """Write a version as ONNX at the size it was trained at, and measure how far it is from the trained network.

    Both run on the frames that judge the version's domain; where those are not here, on seeded noise, which proves nothing to a gate.
    Exit 3 when they differ by more than validation/policies.yaml allows, or when no real frame was there to compare them on.

    Example: vortex export v10
    """
    from pipelines.hub.exports import on_too_few_frames, parity_checks
    from pipelines.hub.open import hub
    from pipelines.ship.export import export as write
    from pipelines.ship.export import export_path

    ws = console.workspace()
    exported = write(ws, version, on_step=console.note)
    path = export_path(ws, hub(ws).get(version))
    checks = parity_checks(exported)
    console.emit(
        {"version": version, "path": path, **vars(exported), "passed": all(check.passed for check in checks)},
        console.table(
            ("check", "asked", "found", ""),
            [(check.name, check.asked, check.found, console.verdict(check.passed)) for check in checks],
            f"{version} as ONNX, opset {exported.opset}, input 1x3x{wording.size(exported.size or ())}, {wording.megabytes(exported.artifact.bytes)}",
            f"compared on {exported.frames} frames of {'seeded noise: no frames that judge its domain are here' if exported.parity_on == 'noise' else exported.parity_on}",
        ),
    )
    if exported.detail["host_only"]:
        console.note(f"{wording.size(exported.size or ())} runs on hosts only: a Jetson takes 240x320")
    console.note(f"file: {path}")
    if on_too_few_frames(exported):
        console.note(f"compared on too few frames for any stage beyond candidate: {checks[0].asked}")
    elif not all(check.passed for check in checks):
        raise GateRefused(
            f"{version}: the ONNX file is not proven to answer as the trained network: {checks[0].found}",
            "it is recorded, and no stage beyond candidate accepts it",
        )
