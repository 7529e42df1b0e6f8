"""Reports from JSON: read strictly, and refused with every fault."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from core import strict_yaml
from core.errors import UsageError, VortexError
from validation.evidence.closed_loop import ClosedLoop
from validation.evidence.device_bench import DeviceBench
from validation.evidence.field import FieldRun
from validation.evidence.report import Report
from validation.evidence.shadow import Shadow

KINDS: Final[Mapping[str, type[Report]]] = {
    "closed-loop": ClosedLoop,
    "device-bench": DeviceBench,
    "shadow": Shadow,
    "field": FieldRun,
}
LARGEST: Final = 16 << 20
"""Bytes of a report; a closed loop of 100,000 seeds has 15 million."""


def report_type(kind: str) -> type[Report]:
    """The class of a kind. Raises UsageError naming all."""
    if kind not in KINDS:
        raise UsageError(
            f"unknown kind of evidence {kind!r}, allowed: {', '.join(KINDS)}", "vortex evidence schema KIND prints what each asks for"
        )
    return KINDS[kind]


def schema(kind: str) -> dict[str, Any]:
    """The JSON schema of a kind."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **report_type(kind).model_json_schema()}


def parse(kind: str, content: bytes, where: str) -> Report:
    """A report of this kind. Raises VortexError, naming `where`, with everything that does not match the schema."""
    report = report_type(kind)
    hint = f"vortex evidence schema {kind} prints what it must hold"
    try:
        json.loads(content, object_pairs_hook=_distinct)  # pydantic takes the last of two keys
        return report.model_validate_json(content)
    except ValidationError as error:
        faults = strict_yaml.faults(error)
        raise VortexError(
            f"{where} is no {kind} report, {len(faults)} fault{'s' if len(faults) > 1 else ''}: {faults[0]}", hint, faults
        ) from error
    except RecursionError as error:
        raise VortexError(f"{where} is no {kind} report: nested too deeply", hint) from error
    except ValueError as error:
        raise VortexError(f"{where} is no JSON: {error}", hint) from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f"key {name[:60]!r} is there twice")
        values[name] = value
    return values
