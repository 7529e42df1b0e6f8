"""The commands that see: `run`, `build`, `bench`, `calibrate` and `nav2-params`. They are added to `vortex-jetson` by its `cli`, which parses and prints."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from vortex_jetson import bench as benches
from vortex_jetson import release
from vortex_jetson.bench import Bench, Latency
from vortex_jetson.engines import builds
from vortex_jetson.engines.engine import SETTINGS, Engine, model_for
from vortex_jetson.errors import RobotError, UsageError
from vortex_jetson.files import read_plain, reading, write_whole
from vortex_jetson.formats.bundle import Bundle
from vortex_jetson.live import runtime, sources
from vortex_jetson.live.comparison import Comparison
from vortex_jetson.live.notify import Heartbeat
from vortex_jetson.live.recording import Recording
from vortex_jetson.live.runtime import Current, Follower, Output, Summary
from vortex_jetson.live.shadow import Candidate
from vortex_jetson.live.shadow_runs import ShadowRuns, as_json
from vortex_jetson.live.sources import Frame
from vortex_jetson.perception import calibrate
from vortex_jetson.perception.fusion import Thresholds
from vortex_jetson.perception.perception import Perception, Seen
from vortex_jetson.perception.pinhole import Pinhole, of_matrix
from vortex_jetson.perception.resize import shrink
from vortex_jetson.ros import nav2_params
from vortex_jetson.ros.node import Camera, RosNode, Topics
from vortex_jetson.update import agent, candidate, delivery, device, outbox, task
from vortex_jetson.update.device import Device

MakeCommand = Callable[[Any, str, Callable[[argparse.Namespace], int], str, str], argparse.ArgumentParser]
Say = Callable[..., None]
CAMERA: Final = "camera:"
LARGEST_CALIBRATIONS: Final = 100_000
FACING_DEG: Final = 5.0
"""A wall that stands straighter than this is as far as the middle of the picture says, whatever the camera's matrix, within 0.4 %."""


def add_commands(commands: Any, command: MakeCommand, say: Say) -> None:
    """Add them to argparse's `commands`, each made by `command` and answering through `say`."""
    run = command(
        commands,
        "run",
        lambda arguments: _run(arguments, say),
        "answer frames with the version that runs: depth, classes and confidence",
        "vortex-jetson run --source camera:0 --out /tmp/answers",
    )
    _add_source(run, "ros, camera:N, a video, or a folder of frames", required=True)
    run.add_argument("--out", type=Path, metavar="DIR", help="write depth, classes and confidence of every frame there, as .npy")
    run.add_argument("--record", type=Path, metavar="FILE", help="record frames and answers there, as MCAP")
    run.add_argument("--frames", type=_count, metavar="N", help="stop after so many frames")
    run.add_argument("--confidence", metavar="TOPIC", help="with ros: the ToF camera's confidence; without it a depth is believed")
    run.add_argument("--rectified", action="store_true", help="with ros: the pictures are undistorted, their matrix is P")
    run.add_argument("--depth-frame", metavar="FRAME", help="with ros: the frame of depth that lies on colour (default: that of colour)")
    run.add_argument(
        "--ros", nargs=argparse.REMAINDER, default=[], metavar="ARGS", help="last: ROS's own arguments, as -r depth:=/tof/depth"
    )

    build = command(
        commands,
        "build",
        lambda arguments: _build(arguments, say),
        "build the TensorRT engine of what runs for this machine, and try it out",
        "vortex-jetson build --slot b",
    )
    build.add_argument("--slot", choices=["a", "b"], help="of the bundle in this slot instead of what runs")

    bench = command(
        commands,
        "bench",
        lambda arguments: _bench(arguments, say),
        "time what runs, and report it: speed, memory and task on one engine",
        "vortex-jetson bench --frames 1000 --send",
    )
    bench.add_argument("--runtime", choices=list(SETTINGS), help="another library than that of the settings")
    bench.add_argument("--frames", type=_count, default=200, metavar="N", help="how many to time (default: 200)")
    bench.add_argument(
        "--shadow", action="store_true", help="time the channel's candidate, which this device fetched, instead of what runs"
    )
    bench.add_argument("--send", action="store_true", help="send what waits now, not with the next pull")

    calibration = command(
        commands,
        "calibrate",
        lambda arguments: _calibrate(arguments, say),
        "find the scale of the version that runs, with a wall and a tape measure",
        "vortex-jetson calibrate --distance 2.0 --source camera:0 --camera 607,607,320,240",
    )
    calibration.add_argument(
        "--distance", type=float, metavar="METRES", help="what the tape says: the shortest way from the camera to the wall"
    )
    _add_source(calibration, "camera:N, a video, or a folder of frames, all of that wall", required=False)
    calibration.add_argument(
        "--camera", metavar="FX,FY,CX,CY", help="the camera's matrix in its own pixels; without it the wall must be faced"
    )
    calibration.add_argument("--frames", type=_count, default=20, metavar="N", help="how many to look at (default: 20)")
    calibration.add_argument("--undo", action="store_true", help="take the newest calibration of this version back")

    nav2 = command(
        commands,
        "nav2-params",
        lambda arguments: _nav2_params(arguments, say),
        "parameters of Nav2's costmap for the classes of the version that runs",
        "vortex-jetson nav2-params --out vortex_costmap.yaml",
    )
    nav2.add_argument("--prefix", default="vortex", help="of the node's topics (default: vortex)")
    nav2.add_argument("--one-layer", action="store_true", help="for a Nav2 before ROS 2 Kilted: all classes inflated as the widest")
    nav2.add_argument("--out", type=Path, metavar="FILE", help="write them there instead of to the terminal")


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r:.20} is no whole number of 1 and more")
    return int(text)


def _add_source(command: argparse.ArgumentParser, words: str, required: bool) -> None:
    command.add_argument("--source", required=required, metavar="SOURCE", help=f"where frames come from: {words}")


def _run(arguments: argparse.Namespace, say: Say) -> int:
    here = device.load(arguments.state)
    _refuse_words_of_others(arguments)
    _refuse_writing_over_frames(arguments)
    current, summary, heartbeat = Current(perception(here)), Summary(), Heartbeat()
    recorded = arguments.source != "ros" and not arguments.source.startswith(CAMERA)
    shadows = ShadowRuns(Attendant(here, _kind(arguments.source)), patient=recorded)
    outputs: list[Output] = [runtime.into_folder(arguments.out)] if arguments.out else []
    outputs.append(lambda frame, seen: heartbeat())
    recording = Recording(arguments.record) if arguments.record else None
    outputs += [recording.add] if recording else []

    def put_out(frame: Frame, seen: Seen) -> None:
        runtime.put_out(frame, seen, outputs, summary, shadows)

    try:
        with _following(here, current), closing(recording) if recording else nullcontext(), shadows:
            if arguments.source == "ros":
                _spin(arguments, current, put_out, heartbeat, lambda: sum(summary.frames.values()))
            else:
                runtime.work(_frames(arguments.source, arguments.frames), current, put_out)
    except KeyboardInterrupt:
        pass  # a camera has no other end
    _say_run(arguments, say, summary, shadows)
    return 0


def _say_run(arguments: argparse.Namespace, say: Say, summary: Summary, shadows: ShadowRuns) -> None:
    compared = list(shadows.totals.values())
    document = {
        "frames": summary.frames,
        "p50_ms": 1000 * summary.percentile(0.5),
        "p99_ms": 1000 * summary.percentile(0.99),
        "assumed_scale": summary.reasons,
        "turned": summary.turned,
        "shadow": list(map(as_json, compared)),
    }
    lines = [f"{count} frames by {version}" for version, count in summary.frames.items()] or ["no frame came"]
    lines += [f"{document['p50_ms']:.1f} ms a frame, p99 {document['p99_ms']:.1f} ms"] * bool(summary.frames)
    lines += [f"{count} frames without a scale of their own, the first: {reason}" for reason, count in summary.reasons.items()]
    lines += [summary.turned] * bool(summary.turned)
    lines += [comparison.words() for comparison in compared]
    say(arguments, document, *lines)


def _refuse_words_of_others(arguments: argparse.Namespace) -> None:
    """Raises UsageError for options that another source than the named one has."""
    if arguments.source == "ros":
        return
    for option, value in (
        ("--confidence", arguments.confidence),
        ("--depth-frame", arguments.depth_frame),
        ("--rectified", arguments.rectified),
        ("--ros", arguments.ros),
    ):
        if value:
            raise UsageError(f"{option} is of --source ros, and the source is {arguments.source}", "leave it out, or run with --source ros")


def _refuse_writing_over_frames(arguments: argparse.Namespace) -> None:
    """Raises UsageError where answers would lie where the frames do: depth and confidence of both have the same names."""
    source, out = Path(arguments.source), arguments.out
    if out is not None and source.is_dir() and out.resolve() == source.resolve():
        raise UsageError(f"--out {out} is the folder of the frames, whose depth would be written over", "name another folder")


def _spin(arguments: argparse.Namespace, current: Current, put_out: Output, heartbeat: Heartbeat, count: Callable[[], int]) -> None:
    """Answer what comes over ROS, until so many frames are out as were asked for."""
    try:
        import rclpy
    except ImportError as error:
        raise UsageError("rclpy is not installed here", "source ROS 2 first: source /opt/ros/$ROS_DISTRO/setup.bash") from error

    rclpy.init(args=["--ros-args", *arguments.ros] if arguments.ros else None)
    topics = Topics(confidence=arguments.confidence or "")
    node = RosNode(current, topics, Camera(arguments.rectified, arguments.depth_frame or ""), put_out)

    def stop() -> bool:
        heartbeat()
        return arguments.frames is not None and count() >= arguments.frames

    try:
        node.spin(stop)
    finally:
        node.close()
        rclpy.try_shutdown()


def _build(arguments: argparse.Namespace, say: Say) -> int:
    bundle, engine, new = agent.build(device.load(arguments.state), arguments.slot)
    name, outcome = builds.name(engine), "was built" if new else "was there"
    say(
        arguments,
        {"version": bundle.version, "engine": name, "new": new},
        f"the engine of {bundle.version} {outcome}, and does its task",
        name,
    )
    return 0


def _bench(arguments: argparse.Namespace, say: Say) -> int:
    here = device.load(arguments.state)
    if arguments.runtime:
        here = replace(here, settings=replace(here.settings, runtime=arguments.runtime))
    timed = benches.bench(here, arguments.frames, shadow=arguments.shadow)
    document = timed.report(here.settings.device)
    with here.locked():
        report = outbox.add_evidence(here, document)
        say(arguments, {**document, "report": report.name}, *_figures(timed), *[f"report       {report.name} waits"] * (not arguments.send))
        if arguments.send:
            outbox.send(here)
    return 0


def _figures(timed: Bench) -> list[str]:
    measured = timed.measured
    classes = f", {100 * measured.class_agreement:.1f} % of the classes right" if measured.class_agreement is not None else ""
    return [
        f"{timed.version} in {timed.precision} at {timed.size[0]}x{timed.size[1]} on {timed.library}, {timed.frames} frames",
        *[f"engine       {timed.engine}"] * (timed.engine is not None),
        f"computer     {timed.computer}" + (f", power mode {timed.power_mode}" if timed.power_mode else ""),
        f"compute      {_milliseconds(timed.compute)}, {timed.frames_per_second:.1f} frames/s",
        f"end to end   {_milliseconds(timed.end_to_end)}",
        f"memory       {'not told by the system' if timed.memory_bytes is None else f'{timed.memory_bytes / 1e6:.0f} MB'}",
        f"task         {measured.rmse_m:.3f} m RMSE{classes}",
    ]


def _milliseconds(latency: Latency) -> str:
    return f"{latency.p50:.2f} ms a frame, p90 {latency.p90:.2f}, p99 {latency.p99:.2f}"


def _calibrate(arguments: argparse.Namespace, say: Say) -> int:
    here = device.load(arguments.state)
    version = _bundle(here).version
    path = here.folder / calibrate.FILE
    if arguments.undo:
        with here.locked():
            earlier = calibrate.undone(calibrations(here), version)
            write_whole(path, calibrate.dump(earlier))
        scale = calibrate.scale_of(earlier, version)
        say(arguments, {"version": version, "scale": scale}, f"{version} is scaled by {scale:.4g} again where there is no ToF")
        return 0
    if arguments.distance is None or arguments.source is None:
        raise UsageError("a calibration needs --distance and --source", "vortex-jetson calibrate --distance 2.0 --source camera:0")
    measured = _measure(here, arguments)
    with here.locked():
        write_whole(path, calibrate.dump([*calibrations(here), measured]))
    say(
        arguments,
        asdict(measured),
        f"{version} is scaled by {measured.scale:.4g} where there is no ToF",
        f"from {measured.frames} frames: off by {1000 * measured.residual_m:.0f} mm RMS, rough by {1000 * measured.roughness_m:.0f} mm,"
        f" the wall at {measured.slant_deg:.0f}°",
        "take it back with: vortex-jetson calibrate --undo",
    )
    return 0


def _measure(here: Device, arguments: argparse.Namespace) -> calibrate.Calibration:
    bundle, engine = _opened(here)
    depths, size = [], bundle.size
    for frame in _frames(arguments.source, arguments.frames):
        size = (frame.rgb.shape[0], frame.rgb.shape[1])
        try:
            depths.append(engine.run(shrink(frame.rgb, bundle.size))[0].copy())
        except ValueError as error:
            raise RobotError(f"frame {frame.name}: {error}", "set the camera to at least the student's size") from error
    camera, bounds = _matrix(arguments.camera, size), calibrate.USUAL
    if arguments.camera is None:
        bounds = replace(bounds, slant_deg=FACING_DEG)
    return calibrate.measure(bundle.version, depths, arguments.distance, camera.scaled(bundle.size), device.stamp(here.now()), bounds)


def _matrix(words: str | None, size: tuple[int, int]) -> Pinhole:
    if words is None:
        return Pinhole(size[1], size[1], (size[1] - 1) / 2, (size[0] - 1) / 2, size)
    try:
        fx, fy, cx, cy = map(float, words.split(","))
        return of_matrix([fx, 0, cx, 0, fy, cy, 0, 0, 1], size)
    except ValueError as error:
        raise UsageError(f"--camera {words!r:.60}: {error}", "give FX,FY,CX,CY in pixels of the camera's own pictures") from error


def _nav2_params(arguments: argparse.Namespace, say: Say) -> int:
    bundle = _bundle(device.load(arguments.state))
    text = nav2_params.parameters(
        bundle.version,
        bundle.classes,
        bundle.inflation,
        bundle.fusion.nearest_m,
        prefix=arguments.prefix,
        containers=not arguments.one_layer,
    )
    if arguments.out:
        write_whole(arguments.out, text.encode())
        say(arguments, {"version": bundle.version, "path": str(arguments.out)}, f"parameters for {bundle.version} are in {arguments.out}")
    else:
        sys.stdout.write(text)
    return 0


def perception(here: Device) -> Perception:
    """The version that runs on a device, verified, loaded and calibrated. Raises RobotError."""
    bundle, engine = _opened(here)
    fusion = bundle.fusion
    thresholds = Thresholds(fusion.confident, fusion.nearest_m, fusion.farthest_m)
    scale = calibrate.scale_of(calibrations(here), bundle.version)
    return Perception(bundle.version, engine, bundle.size, bundle.classes, bundle.classes_trained, thresholds, scale)


def calibrations(here: Device) -> list[calibrate.Calibration]:
    """Those of a device, oldest first. Raises RobotError."""
    path = here.folder / calibrate.FILE
    try:
        with reading(path, "remove it, and calibrate again"):
            return calibrate.read(read_plain(path, LARGEST_CALIBRATIONS))
    except FileNotFoundError:
        return []


def _bundle(here: Device) -> Bundle:
    return agent.running(here, here.slots())


def _opened(here: Device) -> tuple[Bundle, Engine]:
    """The bundle that runs and its engine, both of one slot, whatever a pull does meanwhile."""
    slots = here.slots()
    bundle = agent.running(here, slots)
    assert slots.running is not None  # else nothing runs, which was said
    return bundle, task.load(here, here.slot_folder(slots.running), bundle)


def _following(here: Device, current: Current) -> Follower:
    """What follows the agent: another bundle that runs, or another calibration."""

    return Follower(current, lambda: _key(here), lambda: perception(here), lambda words: here.journal("run", words=words))


def _key(here: Device) -> str:
    path = here.folder / calibrate.FILE
    return f"{here.slots().current.bundle} {path.stat().st_mtime_ns if path.exists() else 0}"


def _kind(source: str) -> str:
    """A source as a report names it: nothing of where it lies leaves the device."""
    if source == "ros" or source.startswith(CAMERA):
        return "ROS" if source == "ros" else "a camera"
    return "a folder" if Path(source).is_dir() else "a video"


def _frames(source: str, count: int | None) -> Iterator[Frame]:
    if source.startswith(CAMERA):
        number = source[len(CAMERA) :]
        if not re.fullmatch("[0-9]{1,4}", number):
            raise UsageError(f"{source}: is no camera", "name it by its number, as camera:0")
        frames = sources.newest(sources.camera(int(number)))
    elif Path(source).is_dir():
        frames = sources.folder(Path(source))
    elif Path(source).is_file():
        frames = sources.video(Path(source))
    else:
        raise UsageError(f"{source}: is no file, folder or camera", "name a folder of frames, a video, or camera:0")
    return islice(frames, count)


class Attendant:
    """What the shadows of a run know of its device, and do there."""

    def __init__(self, here: Device, source: str) -> None:
        """`source` is the kind of it, as a report names it."""
        self._here, self._source = here, source

    def key(self) -> str:
        """See `Surroundings`."""
        folder = candidate.proven(self._here)
        return f"{_key(self._here)} {folder.name if folder else None}"

    def candidate(self) -> tuple[Candidate, str] | None:
        """See `Surroundings`."""
        here, slots, folder = self._here, self._here.slots(), candidate.proven(self._here)
        if folder is None or slots.running is None or slots.current.bundle in (None, folder.name):
            return None
        bundle = delivery.read_manifest(folder, folder.name)
        running = delivery.read_manifest(here.slot_folder(slots.running), str(slots.current.bundle))
        difference = candidate.unlike(bundle, running)
        if difference is not None:
            raise RobotError(difference, "a shadow is of the size and the classes of the version at work")
        runtime, machine = task.library(here)
        model = model_for(runtime, bundle)
        engine = builds.proven(here.engines, bundle, machine) if machine else None
        scale = calibrate.scale_of(calibrations(here), bundle.version)
        checkpoint, export = bundle.checkpoint_sha256, bundle.files[model.file].sha256
        shadow = Candidate(bundle.version, folder.absolute(), folder.name, runtime, scale, checkpoint, export, engine)
        return shadow, running.version

    def deliver(self, shadow: Candidate, comparison: Comparison) -> None:
        """See `Surroundings`. The agent sends it with its own reports."""
        evidence = comparison.report(
            device=self._here.settings.device,
            checkpoint_sha256=shadow.checkpoint_sha256,
            export_sha256=shadow.export_sha256,
            made_by=f"vortex-jetson {release.version()}",
            source=self._source,
        )
        with self._here.locked():
            outbox.add_evidence(self._here, evidence)

    def tell(self, words: str) -> None:
        """See `Surroundings`."""
        self._here.journal("run", words=words)
