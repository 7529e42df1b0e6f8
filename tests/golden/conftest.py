"""One workspace in which every command was run once, for all golden tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.golden.golden import vortex
from tests.golden.workspaces import begin, field_report, lineage_file, old_checkpoint, plain_folder, training
from tests.made_once import made_once

TOUR = """
doctor
data synth bare --world corridor --frames 12 --size 48x64 --seed 2 --teacher none --labelled 0.5 --workers 1
data add brought {frames} --unit mm --domain hall --camera kinect --workers 1
data list
data show small --frames 2
validate small
validate small --rows-only
label bare --teachers geometric --limit 2
pack small --size 32x48
recipes
recipes v6
train {tiny} --epochs 2 --dry-run
train {tiny} --epochs 2
train --from v10 --domain rooms --epochs 1 --device cpu
train v6 --domain rooms --encoder-weights none --device cpu --epochs 1 --size 32x32 --set student.encoder=mobilenetv3_small_100
train --resume {run}
logs {run}
submit {tiny} --epochs 1 --dry-run
submit {tiny} --epochs 1
runs
profile {tiny} --epochs 1 --seconds 0.1
ablate {tiny} --epochs 1 --vary loss.weighting=kendall,fixed --seeds 1
versions
show v10
lineage
lineage v10
lineage v10 --down
lineage small
compare v10 v11
compare v5 v10
evaluate v11 --device cpu
evaluate v10 --device cpu --against v11
evaluate v10 --device cpu --picture
compare v10 v11 --domain rooms
pareto --axes rooms.rmse,params
recommend --domain rooms
recommend --domain rooms --for finetune
export v10
export v10 --precision fp16 --target jetson
bench v10 --frames 5
evaluate v10 --runtime onnx
evaluate --all --domain rooms --align median
predict v10 small --every 4
video v10 --data small
promote v10 --stage production --dry-run
promote v10 --stage production
promote v11 --stage production
quarantine v11 --reason test
quarantine
quarantine v11 --lift --reason tested
keys init --root {stick}
keys status
keys refresh
keys rotate targets --root {stick}
keys rotate release --root {stick}
keys timer
publish
devices enroll robot-1 --key {key} --channel host/rooms
devices list
devices collect {stick}
devices revoke robot-1 --reason test
hooks test sink
hooks replay
hooks log
hooks drop sink
audit head
audit verify
migrate --to {elsewhere} --dry-run
history
history --domain rooms --last 1
report --no-pictures
card v10
show v10
data push
data pull
data checkout v10
data diff v10
import {lineage} --dry-run
import {lineage}
adopt {old} --as v20 --recipe {recipe} --domain rooms
evidence add v20 {report} --kind field
evidence list v20
evidence schema field
show v20
compare v10 v20
archive {archive}
gc
config
config artifact_root
ci github
data show small --frame s0-00000
data rename brought carried
data remove carried
"""
"""Command lines in their order; what is in braces is put in."""


@dataclass(frozen=True)
class Tour:
    """A workspace in which the commands of `TOUR` were run, and what each printed under `--json`."""

    root: Path
    printed: dict[str, Any]


@pytest.fixture(scope="session")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    """Made once, also for several test processes: it takes a while."""

    def make(folder: Path) -> None:
        (folder / "printed.json").write_text(json.dumps(_walk(folder / "workspace")))

    folder = made_once(tmp_path_factory, "golden-tour", make)
    return Tour(folder / "workspace", json.loads((folder / "printed.json").read_text()))


def _walk(root: Path) -> dict[str, Any]:
    printed = begin(root)
    outside, elsewhere = root.parent / "brought", root.parent / "elsewhere.toml"
    elsewhere.write_text(
        'tracking_uri = "sqlite:///moved/mlflow.db"\nartifact_root = "moved/artifacts"\nledger = "sqlite:///moved/ledger.db"\n'
    )
    places = {"tiny": training(root), "recipe": str(root / "tiny.yaml"), "frames": str(plain_folder(outside)), "run": "", "report": ""}
    places |= {"old": str(old_checkpoint(outside)), "lineage": str(lineage_file(outside)), "elsewhere": str(elsewhere)}
    places["archive"] = str(root.parent / "archive")
    places |= {"stick": str(outside), "key": str(root / "keys" / "release.pub")}
    written = (root / "vortex.toml").read_text()
    (root / "vortex.toml").write_text(written.replace("[devices.host]\n", "[devices.host]\npublish = true\n"))
    with (root / "vortex.toml").open("a") as settings:
        settings.write('\n[hooks.sink]\ncommand = ["true"]\nkinds = ["channel.*"]\n')
    for line in TOUR.strip().splitlines():
        answer = vortex(f"{line.format(**places)} --json", root, slurm=line.startswith("submit"))
        printed[line] = answer.json
        if line == "train {tiny} --epochs 2":
            places["run"] = answer.json["run"]
        if line.startswith("adopt"):
            places["report"] = str(field_report(outside, answer.json["version"]["checkpoint"]["sha256"]))
    return printed
