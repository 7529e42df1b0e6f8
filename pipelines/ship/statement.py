"""How the models of a bundle came about, as an in-toto Statement v1 with SLSA's provenance, signed in a DSSE envelope.

in-toto.io/Statement/v1, slsa.dev/provenance/v1. Who has the public part of the release key can see by the file alone who shipped it; robots
have it by root's metadata, and take no bundle without.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vortex_jetson.formats.release_keys import PAYLOAD

from registry import signature
from registry.edges import WeightsEdge
from registry.records import Version

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PROVENANCE: Final = "https://slsa.dev/provenance/v1"
BUILD: Final = "urn:vortex:training:1"


def statement(version: Version, models: Mapping[str, str], ledger: str) -> dict[str, Any]:
    """The statement about these models, path → SHA-256; `ledger` is the hash of the ledger's first event, which tells one from another."""
    dependencies = [{"name": f"checkpoint of {version.name}", "digest": {"sha256": version.checkpoint.sha256}}]
    dependencies += [{"name": f"dataset {use.name}", "digest": {"vortex-content": use.digest}} for use in version.data]
    dependencies += [{"name": f"weights of {edge.version}"} for edge in version.parents if isinstance(edge, WeightsEdge)]
    if version.commit:
        dependencies.append({"name": "code", "digest": {"gitCommit": version.commit.partition("-")[0]}})
    return {
        "_type": STATEMENT,
        "subject": [{"name": path, "digest": {"sha256": sha256}} for path, sha256 in sorted(models.items())],
        "predicateType": PROVENANCE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": {"version": version.name, "recipe": version.recipe, "size": list(version.size)},
                "internalParameters": {"run": version.run_id},
                "resolvedDependencies": dependencies,
            },
            "runDetails": {"builder": {"id": f"urn:vortex:ledger:{ledger}"}, "metadata": {"invocationId": version.run}},
        },
    }


def signed(version: Version, models: Mapping[str, str], ledger: str, key: Path) -> bytes:
    """The envelope of the statement, signed with the private key in this file."""
    payload = json.dumps(statement(version, models, ledger), sort_keys=True, separators=(",", ":")).encode()
    return (json.dumps(signature.sign(payload, PAYLOAD, key), sort_keys=True) + "\n").encode()
