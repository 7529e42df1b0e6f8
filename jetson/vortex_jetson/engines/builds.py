"""Engines that were built on this device: kept by what they were built from and for, by their digest, and never written over.

    engines/ONNX_SHA256/MACHINE/ENGINE_SHA256.candidate     built, and not yet seen to do its bundle's task
    engines/ONNX_SHA256/MACHINE/ENGINE_SHA256.engine        seen to do it: programs of the robot load these alone
    engines/ONNX_SHA256/MACHINE/ENGINE_SHA256.refused       seen not to do it: none is built for this machine again

An engine is built in a child process, which takes no more memory than it may and is the first that the system ends where memory runs out, so that
what runs goes on running:

    python -m vortex_jetson.engines.builds SLOT PLACE MEMORY_BYTES WORKSPACE_BYTES     (prints its digest, as JSON)
"""

from __future__ import annotations

import hashlib
import os
import re
import resource
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from vortex_jetson import child
from vortex_jetson.engines import tensorrt
from vortex_jetson.engines.engine import model_for, read_model
from vortex_jetson.engines.machine import Machine
from vortex_jetson.errors import DiskFull, EngineFailed, MemoryShort, RobotError, Untrusted
from vortex_jetson.files import flush, read_plain, remove_tree, write_whole, writing
from vortex_jetson.formats import bundle as bundles
from vortex_jetson.formats.bundle import Bundle
from vortex_jetson.formats.document import SHA256
from vortex_jetson.limits import LIMITS, Limits

CANDIDATE, PROVEN, REFUSED = ".candidate", ".engine", ".refused"
MEMORY: Final = Path("/proc/meminfo")
FIRST_TO_END: Final = "1000"
"""oom_score_adj of a process that is ended before any other."""
MOST_NICE: Final = 10
AGAIN: Final = "build it again: vortex-jetson build"


def name(engine: Path) -> str:
    """What a kept engine is called in reports: what it was built for, and the first digits of its ONNX file's SHA-256."""
    return f"{engine.parent.name}-{engine.parent.parent.name[:12]}"


def proven(engines: Path, bundle: Bundle, machine: Machine) -> Path | None:
    """The engine that runs a bundle here: that of this very machine, else one of another power mode, which is the same to TensorRT."""
    kept = _kept(engines, bundle, PROVEN)
    return kept.get(machine.key) or next((path for key, path in kept.items() if key.rpartition("-")[0] == machine.library), None)


def newest(engines: Path, bundle: Bundle) -> Path | None:
    """The engine of a bundle that was built last, whatever machine it was built for; None where there is none."""
    return max(_kept(engines, bundle, PROVEN).values(), key=lambda path: path.stat().st_mtime_ns, default=None)


def built(engines: Path, slot: Path, bundle: Bundle, machine: Machine, limits: Limits = LIMITS) -> Path:
    """The engine of a bundle for this very machine, which is built where there is none; one that is not yet proven is a candidate.

    Raises DiskFull and MemoryShort before anything is built, LibraryMissing where TensorRT builds nothing for this GPU, EngineFailed where it
    does not take the file, child.Died where the process that built it died of it.
    """
    for suffix in (PROVEN, CANDIDATE):
        path = _kept(engines, bundle, suffix).get(machine.key)
        if path is not None:
            try:
                read(path, bundle, limits)
            except RobotError:
                with writing(path):
                    path.unlink()
            else:
                return path
    for refused in _kept(engines, bundle, REFUSED).values():
        if refused.parent.name == machine.key:
            raise EngineFailed(
                f"{bundle.version}: the engine that was built for {machine.key} did not do its task", f"to build it again remove {refused}"
            )
    _ask_for_room(engines.parent, bundle, limits)
    folder = engines.absolute() / _onnx(bundle) / machine.key
    arguments = (slot.absolute(), folder, limits.build_memory_bytes, limits.build_workspace_bytes)
    try:
        fields = child.ask("vortex_jetson.engines.builds", arguments, limits.build_s, "building the engine")
    except child.Died as death:
        if death.signal == signal.SIGKILL:
            raise MemoryShort(
                f"{bundle.version}: the system ended the building of its engine, as it does where memory runs out", "free some"
            ) from None
        if death.hung:
            raise EngineFailed(
                f"{bundle.version}: its engine was still being built after {limits.build_s:g} s", "look at the power mode"
            ) from None
        raise
    path = folder / f"{fields.text('engine', SHA256)}{CANDIDATE}"
    read(path, bundle, limits)
    return path


def read(path: Path, bundle: Bundle, limits: Limits = LIMITS) -> bytes:
    """The content of a kept engine, which has the digest that its name says. Raises EngineFailed, and Untrusted for any other content."""
    try:
        content = read_plain(path, _largest(bundle, limits))
    except OSError as error:
        raise EngineFailed(f"{path}: cannot be read ({error.strerror})", AGAIN) from error
    if hashlib.sha256(content).hexdigest() != path.stem:
        raise Untrusted(f"{path}: is not the engine that was built any more; it was not loaded", AGAIN)
    return content


def keep(path: Path) -> Path:
    """The candidate has done its bundle's task: from now on programs of the robot load it."""
    with writing(path):
        proof = path.with_suffix(PROVEN)
        os.replace(path, proof)
        for folder in path.parents[:3]:
            flush(folder)
    return proof


def refuse(path: Path) -> None:
    """The candidate does not do its bundle's task: it is never loaded, and remembered, so that no pull spends minutes on the same again."""
    with writing(path):
        os.replace(path, path.with_suffix(REFUSED))
        flush(path.parent)


def sweep(engines: Path, files: set[str]) -> None:
    """Remove the engines of models that no bundle here has, by the digests of all its `files`."""
    for folder in engines.glob("*"):
        if folder.name not in files:
            remove_tree(folder)


def _kept(engines: Path, bundle: Bundle, suffix: str) -> dict[str, Path]:
    """Machine → engine of a bundle."""
    paths = sorted((engines / _onnx(bundle)).glob(f"*/*{suffix}"))
    return {path.parent.name: path for path in paths if re.fullmatch(SHA256, path.stem)}


def _onnx(bundle: Bundle) -> str:
    return bundle.files[model_for("tensorrt", bundle).file].sha256


def _largest(bundle: Bundle, limits: Limits) -> int:
    entry = bundle.files[model_for("tensorrt", bundle).file]
    return int(limits.engine_share * entry.bytes) + limits.engine_bytes


def _ask_for_room(folder: Path, bundle: Bundle, limits: Limits) -> None:
    """Raise DiskFull or MemoryShort where an engine cannot be built, before that is begun."""
    needed, free = _largest(bundle, limits), shutil.disk_usage(folder).free
    if free < needed:
        raise DiskFull(
            f"{folder}: the engine of {bundle.version} may need {needed:,} bytes, {free:,} are free; nothing was built", "free some space"
        )
    needed, available = limits.build_memory_bytes + limits.build_workspace_bytes, available_memory()
    if available is not None and available < needed:
        raise MemoryShort(
            f"building the engine of {bundle.version} may need {needed:,} bytes of memory, {available:,} are free; nothing was built",
            "end other programs, and run the same command again; what runs goes on",
        )


def available_memory(memory: Path = MEMORY) -> int | None:
    """Bytes that programs can have without others being ended; None where the system does not tell."""
    with suppress(OSError):
        entry = re.search(r"^MemAvailable:\s+([0-9]+) kB$", memory.read_text("ascii", "replace"), re.MULTILINE)
        return 1024 * int(entry[1]) if entry else None
    return None


def main(slot: str, place: str, memory_bytes: str, workspace_bytes: str) -> str:
    """The child's work: what it prints."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_END, encoding="ascii")
    os.nice(MOST_NICE)
    # Data, not address space: CUDA reserves of that what no machine has.
    resource.setrlimit(resource.RLIMIT_DATA, (int(memory_bytes), int(memory_bytes)))
    try:
        bundle = bundles.parse(Path(slot, "manifest.json").read_bytes())
        model = model_for("tensorrt", bundle)
        tensorrt.gpu()
        engine = tensorrt.build_engine(read_model(Path(slot, "bundle"), bundle, model), model.file, int(workspace_bytes))
        digest = hashlib.sha256(engine).hexdigest()
        write_whole(Path(place, f"{digest}{CANDIDATE}"), engine)
    except MemoryError:
        return child.refusal(
            MemoryShort(f"building the engine needs more than the {int(memory_bytes):,} bytes that it may take", "end other programs")
        )
    except RobotError as error:
        return child.refusal(error)
    return child.answer({"engine": digest})


if __name__ == "__main__":
    sys.stdout.write(main(*sys.argv[1:]))
