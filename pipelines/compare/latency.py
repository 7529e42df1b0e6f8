"""How long versions take on devices: from signed reports of device benches about the very file that a version is exported as now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from core.errors import UsageError
from pipelines.hub.evidence import items
from pipelines.workspace import Workspace
from registry.records import Version
from registry.versions import Hub
from validation.evidence.device_bench import DeviceBench

BENCH: Final = "device-bench"
"""The kind of evidence that counts."""


@dataclass(frozen=True)
class DeviceLatency:
    """What versions take on one device by one runtime: version → the slowest of a hundred frames (p99), in milliseconds."""

    device: str
    runtime: str
    p99_ms: dict[str, float]

    @property
    def name(self) -> str:
        """How it is written behind `latency@`."""
        return f"{self.device}/{self.runtime}"


def latencies(ws: Workspace, registry: Hub, versions: Iterable[Version]) -> list[DeviceLatency]:
    """One for each device and runtime of a trusted report, those of most versions first.

    Of a version the newest report counts, by the time inside it, that names an export which the version has now: its newest file of a
    format, size, precision and target. A report that is unsigned, signed by an unknown key, changed or gone counts for nothing.
    """
    newest: dict[tuple[str, str], dict[str, DeviceBench]] = {}
    for version in versions:
        exports = {export.artifact.sha256 for export in version.exports}
        for item in items(ws, registry, version, kind=BENCH):
            report = item.report
            if item.trust != "trusted" or not isinstance(report, DeviceBench) or report.export_sha256 not in exports:
                continue
            of_place = newest.setdefault((report.device, report.runtime), {})
            if version.name not in of_place or report.made_at > of_place[version.name].made_at:
                of_place[version.name] = report
    every = [
        DeviceLatency(device, runtime, {name: report.latency_ms.p99 for name, report in reports.items()})
        for (device, runtime), reports in newest.items()
    ]
    return sorted(every, key=lambda latency: (-len(latency.p99_ms), latency.name))


def at(place: str, every: Sequence[DeviceLatency]) -> DeviceLatency:
    """The one that `place` means: a part of the device's name, or DEVICE/RUNTIME; empty where there is one alone.

    Raises UsageError for none, and where several are meant.
    """
    text = place.casefold()
    matches = [latency for latency in every if latency.name.casefold() == text]
    matches = matches or [latency for latency in every if text in latency.device.casefold()]
    if len(matches) == 1:
        return matches[0]
    names = ", ".join(f"latency@{latency.name}" for latency in matches or every)
    if matches:
        raise UsageError(f"latency@{place} is {len(matches)} things that do not compare: {names}", "name one of them whole")
    if every:
        raise UsageError(f"no version was timed on {place!r}, allowed: {names}", "name one of them, or a part of its device")
    raise UsageError(
        "latency: no version has a report of a device bench that counts: signed by a trusted key, and of the file that it is exported as now",
        "add one with: vortex evidence add VERSION REPORT --kind device-bench --sign KEY",
    )
