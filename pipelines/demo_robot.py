"""The robot's part of the demo: a folder that is served, a device that pulls from it, a recording, a file that broke, and what is known after."""

from __future__ import annotations

import dataclasses
import math
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError
from core.files import write_atomic
from pipelines.data.datasets import find, resolve
from pipelines.hub.exports import newest
from pipelines.hub.open import actor, hub
from pipelines.pack.frame_arrays import load_arrays
from pipelines.pack.preparing import packs_folder
from pipelines.site.writing import write_report
from pipelines.workspace import FILE, Workspace, load
from registry.events.channel import ChannelRolledBack
from registry.events.device import DeviceReported
from validation.manifest import load_manifest

ROBOT: Final = "robot-7"
RECORDED: Final = "recorded"
SECOND: Final = "v10"
DEVICE: Final = """
# Robots that pull what is promoted for them.
[devices.orin]
runtime = "onnxruntime"
publish = true
"""
FARTHEST_M: Final = 10.0
BROKEN_M: Final = 2.0
"""What the damaged file answers everywhere."""


@dataclass(frozen=True)
class Errors:
    """On the recorded frames, against truth within 10 m: RMSE in metres, and which share of the pixels the ToF camera saw."""

    frames: int
    student: float
    fused: float
    seen: float


@dataclass(frozen=True)
class RobotSummary:
    """What the demo of the robot ends with, read from the device, the ledger and the site."""

    workspace: Path
    robot: str
    runs: str
    rolled_back: str
    """What the device said when it rolled back, as the ledger has it."""
    left: str
    """Why the channel was taken back, as the ledger has it."""
    errors: Errors
    report: Path
    seconds: float


@dataclass
class RobotDemo:
    """The demo's workspace with a simulated robot in it: a state folder, and the agent as a process of its own."""

    ws: Workspace
    second: str = SECOND
    """The version whose file breaks."""
    url: str = ""
    """Where the published folder is served."""

    def prepare(self) -> None:
        """Give the workspace a device that robots pull for, and a folder for their reports, as a web server's or a stick's would be."""
        (self.ws.root / "inbox").mkdir()
        write_atomic(self.ws.root / FILE, (self.ws.root / FILE).read_text() + DEVICE)
        self.ws = load(self.ws.root)

    def path(self, word: str) -> str:
        """A word of a command: a path that begins with a dot is meant from the workspace, and URL is where the folder is served."""
        if word == "URL":
            return self.url
        return str((self.ws.root / word).resolve()) if word.startswith(".") else word

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve the published folder by Python's own web server, on loopback alone."""
        folder = self.ws.publish_folder
        folder.mkdir(exist_ok=True)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder)))
        thread = threading.Thread(target=server.serve_forever, daemon=True, name="web server")
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def agent(self, words: list[str], expected: int) -> tuple[str, str]:
        """Run `vortex-jetson` with this robot's state; what it printed. Raises VortexError where it ends with another code than `expected`."""
        command = [sys.executable, "-m", "vortex_jetson.cli", *words, "--state", str(self.ws.root / ROBOT)]
        run = subprocess.run(command, capture_output=True, text=True, cwd=self.ws.root, stdin=subprocess.DEVNULL)
        if run.returncode != expected:
            raise VortexError(
                f"vortex-jetson {words[0]} ended with {run.returncode}, expected: {expected}",
                f"look at {self.ws.root / ROBOT / 'journal.jsonl'}",
                [line for line in run.stderr.splitlines() if line.strip()][-5:],
            )
        return run.stdout, run.stderr

    def record(self) -> str:
        """Lay the recorded frames out as a robot's recorder does: colour, ToF depth with its holes, the ToF's confidence; and colour alone."""
        dataset = find(self.ws, RECORDED)
        frames = load_manifest(dataset.manifest)
        for frame in frames:
            for role, path in (("rgb", frame.rgb), ("depth", frame.tof), ("confidence", frame.tof_confidence)):
                assert path is not None  # every synthetic frame has them
                for folder in ("with-tof", "colour-alone") if role == "rgb" else ("with-tof",):
                    place = self.ws.root / "recording" / folder / role / f"{frame.id}{Path(path).suffix}"
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(dataset.root / path, place)
        return f"recording/ holds {len(frames)} frames of a corridor that nobody trained on: colour, and ToF depth with its holes"

    def damage(self) -> str:
        """Have the export of the second version be a file that answers one depth everywhere.

        Vortex does no such thing: it stands for somebody's script that "optimises" a file after its gates, and writes it into the registry by
        its Python interface with the parity of the file that was measured.
        """
        registry = hub(self.ws)
        version = registry.get(self.second)
        exported = newest(version)
        assert exported is not None  # its promotion made one
        path = self.ws.build / f"{self.second}-by-hand.onnx"
        answer_one_depth(registry.artifacts.path(exported.artifact), path)
        artifact = registry.store.log_artifact(version.run_id, path, "exports")
        reason = "made faster by hand; its parity is that of the file before"
        registry.add_export(self.second, dataclasses.replace(exported, artifact=artifact), actor=actor(), reason=reason)
        return f"the file of {self.second} is replaced, past all gates, by one that answers {BROKEN_M:g} m everywhere"

    def errors(self) -> Errors:
        """How far the robot's answers to the recording are from the truth, which it never saw."""
        ref = resolve(self.ws, name_or_manifest=RECORDED)
        frames = load_manifest(ref.manifest)
        squares: dict[str, list[NDArray[np.float64]]] = {"student": [], "fused": []}
        seen = []
        answers = {"student": self.ws.root / "answers" / "colour-alone", "fused": self.ws.root / "answers" / "with-tof"}
        size = np.load(answers["fused"] / f"{frames[0].id}.depth.npy").shape
        for frame, arrays in zip(frames, load_arrays(packs_folder(self.ws), ref, frames, size), strict=True):
            reference = np.asarray(arrays["reference"], np.float64)
            valid = (reference > 0) & (reference <= FARTHEST_M)
            for name, folder in answers.items():
                metres = np.load(folder / f"{frame.id}.depth.npy").astype(np.float64) / 1000
                squares[name].append((metres - reference)[valid] ** 2)
            measured = np.load(answers["fused"] / f"{frame.id}.confidence.npy") >= 128
            seen.append(measured.mean())
        student, fused = (math.sqrt(np.concatenate(squares[name]).mean()) for name in ("student", "fused"))
        return Errors(len(frames), student, fused, float(np.mean(seen)))

    def summary(self, seconds: float) -> RobotSummary:
        """What the ledger knows of it, and the site, which is written."""
        registry = hub(self.ws)
        reported = [DeviceReported.parse(entry).status for entry in registry.ledger.entries(kinds=(DeviceReported.kind,))]
        rolled_back = [status for status in reported if status.outcome == "rolled back"]
        moves = registry.ledger.entries(kinds=(ChannelRolledBack.kind,))
        if not rolled_back or not moves:
            raise VortexError(f"the ledger knows of no rollback of {ROBOT}", f"look at it: vortex history --workspace {self.ws.root}")
        return RobotSummary(
            self.ws.root,
            ROBOT,
            reported[-1].version or "nothing",
            rolled_back[0].reason,
            moves[-1].reason,
            self.errors(),
            write_report(self.ws).index,
            seconds,
        )


def answer_one_depth(source: Path, path: Path) -> None:
    """Write an ONNX model whose depth does not depend on the picture any more, as where a factor was lost."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(source)
    for node in model.graph.node:
        node.output[:] = ["depth.lost" if name == "depth" else name for name in node.output]
        node.input[:] = ["depth.lost" if name == "depth" else name for name in node.input]
    constants = (("depth.factor", 0.0), ("depth.metres", BROKEN_M))
    model.graph.initializer.extend(helper.make_tensor(name, TensorProto.FLOAT, [1], [value]) for name, value in constants)
    model.graph.node.append(helper.make_node("Mul", ["depth.lost", "depth.factor"], ["depth.zero"]))
    model.graph.node.append(helper.make_node("Add", ["depth.zero", "depth.metres"], ["depth"]))
    onnx.save(model, str(path))


class _Silent(SimpleHTTPRequestHandler):
    """Says nothing of each request."""

    def log_message(self, format: str, *words: Any) -> None:
        """Nothing."""
