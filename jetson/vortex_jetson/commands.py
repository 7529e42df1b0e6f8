"""What each command of `vortex-jetson` does: one function a command, which decides nothing, prints one document or a few lines, and gives the exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from vortex_jetson import bench as benches
from vortex_jetson.bench import Bench, Latency
from vortex_jetson.engines import builds
from vortex_jetson.errors import HealthFailed, RobotError, UsageError, plain
from vortex_jetson.files import write_whole
from vortex_jetson.live import deployment, runtime, sources
from vortex_jetson.live.notify import Heartbeat
from vortex_jetson.live.recording import Recording
from vortex_jetson.live.runtime import Current, Output, Summary
from vortex_jetson.live.shadow_runs import ShadowRuns, as_json
from vortex_jetson.live.sources import Frame
from vortex_jetson.perception import calibrate as calibration
from vortex_jetson.perception.perception import Seen
from vortex_jetson.perception.pinhole import Pinhole, of_matrix
from vortex_jetson.perception.resize import shrink
from vortex_jetson.ros import nav2_params as nav2
from vortex_jetson.ros.node import Camera, RosNode, Topics
from vortex_jetson.update import agent, device, outbox
from vortex_jetson.update.device import Device

FACING_DEG: Final = 5.0
"""A wall that stands straighter than this is as far as the middle of the picture says, whatever the camera's matrix, within 0.4 %."""


def init(arguments: argparse.Namespace) -> int:
    """Set the device up, and say how it is enrolled."""
    # A folder is that of now, wherever later commands are called.
    url = arguments.url if "://" in arguments.url else str(Path(arguments.url).absolute())
    settings = device.Settings(arguments.device, arguments.channel, url, arguments.runtime, arguments.shadow)
    new = device.init(arguments.state, settings, arguments.root)
    public_key = str(new.folder / "device.pub")
    _say(
        arguments,
        {"device": settings.device, "channel": settings.channel, "public_key": public_key},
        f"{settings.device} is set up for {settings.channel} in {new.folder}",
        f"enroll it with: vortex devices enroll {settings.device} --key {public_key} --channel {settings.channel}",
    )
    return 0


def pull(arguments: argparse.Namespace) -> int:
    """Do what the channel asks for; 3 where what came was rolled back."""
    pulled = agent.pull(device.load(arguments.state), arguments.place)
    _say(arguments, asdict(pulled), pulled.reason, *(f"{pulled.received:,} bytes came" for _ in range(pulled.changed)))
    for warning in pulled.warnings:
        _note(warning)
    return HealthFailed.exit_code if pulled.outcome == "rolled back" else 0


def health(arguments: argparse.Namespace) -> int:
    """Have the bundle that runs do its task. Raises HealthFailed where it does not."""
    bundle, result = agent.check(device.load(arguments.state))
    if result.reason is not None:
        raise HealthFailed(
            f"{bundle.version}, which runs, does not do its task: {result.reason}", "go back with: vortex-jetson rollback --reason …"
        )
    measured, bounds = result.measured, bundle.health.bounds
    lines = [f"{bundle.version} does its task on {len(bundle.health.frames)} frames"]
    if measured is not None:
        lines.append(
            f"depth {measured.rmse_m:.3f} m RMSE (allowed {bounds.rmse_m:.3f}), worst frame {measured.worst_rmse_m:.3f} (allowed {bounds.worst_rmse_m:.3f})"
        )
    if measured is not None and measured.class_agreement is not None and bounds.class_agreement is not None:
        lines.append(f"classes {100 * measured.class_agreement:.1f} % right (allowed {100 * bounds.class_agreement:.1f} and more)")
    _say(arguments, {"version": bundle.version, "measured": asdict(measured) if measured else None, "bounds": asdict(bounds)}, *lines)
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Say what runs, what was asked for, and what went wrong."""
    here = device.load(arguments.state)
    status = agent.status(here)
    lines = [
        f"{status.device} on {status.channel}: " + (f"{status.version} runs (slot {status.slot})" if status.version else "nothing runs yet")
    ]
    lines += [f"on trial     {status.trial}"] * (status.trial is not None)
    lines += [f"shadow       {status.shadow}"] * (status.shadow is not None)
    lines += [f"asked for    {status.asked}"] * (status.asked is not None)
    lines += [f"engine       {status.engine}"] * (status.engine is not None)
    lines += [f"goes back to {status.previous}"] * (status.previous is not None)
    lines += [f"holds        {status.hold}"] * (status.hold is not None)
    lines += ["barred       what runs was barred since, and nothing else is published for this device"] * status.barred_by_channel
    lines += [f"rolled back  {reason}" for reason in status.rolled_back.values()]
    lines.append({
        "fresh": f"metadata     fresh until {status.expires_at}, heard {status.heard_at}",
        "expired": f"metadata     expired {status.expires_at}: what runs is kept; whoever publishes has to refresh it",
        "clock wrong": f"metadata     heard {status.heard_at}; the clock is before that: set it",
        "never fetched": "metadata     never fetched: vortex-jetson pull",
    }[status.metadata])  # fmt: skip
    lines += [f"reports      {status.reports_waiting} wait"] * (status.reports_waiting > 0)
    _say(arguments, asdict(status), *lines)
    return 0


def rollback(arguments: argparse.Namespace) -> int:
    """Go back to what ran before."""
    slots = agent.roll_back(device.load(arguments.state), arguments.reason)
    _say(arguments, {"version": slots.current.version, "slot": slots.running}, f"{slots.current.version} runs again (slot {slots.running})")
    return 0


def report(arguments: argparse.Namespace) -> int:
    """Send the reports that wait."""
    here = device.load(arguments.state)
    with here.locked():
        count = outbox.send(here, arguments.place)
    _say(arguments, {"sent": count}, f"{count} report{'s' * (count != 1)} sent")
    return 0


def run(arguments: argparse.Namespace) -> int:
    """Answer frames until they end, or until Ctrl-C."""
    here = device.load(arguments.state)
    _refuse_words_of_others(arguments)
    _refuse_writing_over_frames(arguments)
    current, summary, heartbeat = Current(deployment.perception(here)), Summary(), Heartbeat()
    recorded = arguments.source != "ros" and not arguments.source.startswith(sources.CAMERA)
    shadows = ShadowRuns(deployment.DeviceShadows(here, sources.kind(arguments.source)), patient=recorded)
    recording = Recording(arguments.record) if arguments.record else None
    files: list[Output] = [runtime.into_folder(arguments.out)] if arguments.out else []
    files += [recording.add] if recording else []
    # Who answers recorded frames wants the files; a robot at work is not stopped by a full disk.
    spared = [] if recorded else [runtime.Spared(output, _note) for output in files]
    outputs: list[Output] = [*(spared or files), lambda frame, seen: heartbeat()]

    def put_out(frame: Frame, seen: Seen) -> None:
        runtime.put_out(frame, seen, outputs, summary, shadows)

    try:
        with deployment.follower(here, current), closing(recording) if recording else nullcontext(), shadows:
            if arguments.source == "ros":
                _spin(arguments, current, put_out, heartbeat, lambda: sum(summary.frames.values()))
            else:
                runtime.work(sources.named(arguments.source, arguments.frames), current, put_out)
    except KeyboardInterrupt:
        pass  # a camera has no other end
    _say_run(arguments, summary, shadows)
    return int(any(output.failed for output in spared))


def _note(words: str) -> None:
    print(f"note: {words}", file=sys.stderr)


def _say_run(arguments: argparse.Namespace, summary: Summary, shadows: ShadowRuns) -> None:
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
    _say(arguments, document, *lines)


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


def build(arguments: argparse.Namespace) -> int:
    """Build the TensorRT engine of a bundle, and try it out."""
    bundle, engine, new = agent.build(device.load(arguments.state), arguments.slot)
    name, outcome = builds.name(engine), "was built" if new else "was there"
    _say(
        arguments,
        {"version": bundle.version, "engine": name, "new": new},
        f"the engine of {bundle.version} {outcome}, and does its task",
        name,
    )
    return 0


def bench(arguments: argparse.Namespace) -> int:
    """Time what runs, and keep a report of it."""
    here = device.load(arguments.state)
    if arguments.runtime:
        here = replace(here, settings=replace(here.settings, runtime=arguments.runtime))
    timed = benches.bench(here, arguments.frames, shadow=arguments.shadow)
    document = timed.report(here.settings.device)
    with here.locked():
        report = outbox.add_evidence(here, document)
        _say(
            arguments, {**document, "report": report.name}, *_figures(timed), *[f"report       {report.name} waits"] * (not arguments.send)
        )
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


def calibrate(arguments: argparse.Namespace) -> int:
    """Measure the scale of the version that runs by a wall, or take the newest calibration of it back."""
    here = device.load(arguments.state)
    version = deployment.running(here).version
    if arguments.undo:
        with here.locked():
            earlier = calibration.undone(deployment.calibrations(here), version)
            deployment.keep_calibrations(here, earlier)
        scale = calibration.scale_of(earlier, version)
        _say(arguments, {"version": version, "scale": scale}, f"{version} is scaled by {scale:.4g} again where there is no ToF")
        return 0
    if arguments.distance is None or arguments.source is None:
        raise UsageError("a calibration needs --distance and --source", "vortex-jetson calibrate --distance 2.0 --source camera:0")
    measured = _measure(here, arguments)
    with here.locked():
        deployment.keep_calibrations(here, [*deployment.calibrations(here), measured])
    _say(
        arguments,
        asdict(measured),
        f"{version} is scaled by {measured.scale:.4g} where there is no ToF",
        f"from {measured.frames} frames: off by {1000 * measured.residual_m:.0f} mm RMS, rough by {1000 * measured.roughness_m:.0f} mm,"
        f" the wall at {measured.slant_deg:.0f}°",
        "take it back with: vortex-jetson calibrate --undo",
    )
    return 0


def _measure(here: Device, arguments: argparse.Namespace) -> calibration.Calibration:
    bundle, engine = deployment.opened(here)
    depths, size = [], bundle.size
    for frame in sources.named(arguments.source, arguments.frames):
        size = (frame.rgb.shape[0], frame.rgb.shape[1])
        try:
            depths.append(engine.run(shrink(frame.rgb, bundle.size))[0].copy())
        except ValueError as error:
            raise RobotError(f"frame {frame.name}: {error}", "set the camera to at least the student's size") from error
    camera, bounds = _matrix(arguments.camera, size), calibration.USUAL
    if arguments.camera is None:
        bounds = replace(bounds, slant_deg=FACING_DEG)
    return calibration.measure(bundle.version, depths, arguments.distance, camera.scaled(bundle.size), device.stamp(here.now()), bounds)


def _matrix(words: str | None, size: tuple[int, int]) -> Pinhole:
    if words is None:
        return Pinhole(size[1], size[1], (size[1] - 1) / 2, (size[0] - 1) / 2, size)
    try:
        fx, fy, cx, cy = map(float, words.split(","))
        return of_matrix([fx, 0, cx, 0, fy, cy, 0, 0, 1], size)
    except ValueError as error:
        raise UsageError(f"--camera {words!r:.60}: {error}", "give FX,FY,CX,CY in pixels of the camera's own pictures") from error


def nav2_params(arguments: argparse.Namespace) -> int:
    """Write Nav2's parameters for the classes of the version that runs."""
    bundle = deployment.running(device.load(arguments.state))
    text = nav2.parameters(
        bundle.version,
        bundle.classes,
        bundle.inflation,
        bundle.fusion.nearest_m,
        prefix=arguments.prefix,
        containers=not arguments.one_layer,
    )
    if arguments.out:
        write_whole(arguments.out, text.encode())
        _say(arguments, {"version": bundle.version, "path": str(arguments.out)}, f"parameters for {bundle.version} are in {arguments.out}")
    elif arguments.json:
        _say(arguments, {"version": bundle.version, "parameters": text})
    else:
        sys.stdout.write(text)
    return 0


def _say(arguments: argparse.Namespace, document: dict[str, Any], *lines: str) -> None:
    """The document for machines, or the lines for people."""
    if arguments.json:
        print(json.dumps(document, indent=2))
    else:
        print("\n".join(map(plain, lines)))
