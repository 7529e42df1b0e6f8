"""`vortex-jetson`: its commands and options, and the one place where errors end. Exit codes: 0 done, 1 an error, 2 usage, 3 a gate said no, 130 interrupted."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from vortex_jetson import commands, release
from vortex_jetson.engines.engine import SETTINGS
from vortex_jetson.errors import Interrupted, RobotError
from vortex_jetson.update import device


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. Every error is one line and a hint on stderr."""
    arguments = parser().parse_args(words)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        error: RobotError = Interrupted(
            f"{arguments.command} was interrupted; what runs is whole", f"go on with: vortex-jetson {arguments.command}"
        )
    except RobotError as failure:
        error = failure
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  {error.hint}", file=sys.stderr)
    return error.exit_code


def _terminated(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="vortex-jetson", description="Pull a version of Vortex to this device, try it out, and run it or go back."
    )
    top.add_argument("--version", action="version", version=f"vortex-jetson {release.version()}")
    subparsers = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    init = _command(
        subparsers,
        "init",
        commands.init,
        "set this device up: its name, its channel, whom it trusts",
        "vortex-jetson init --device robot-7 --channel orin/corridor --url https://models.example/vortex --root root.json",
    )
    init.add_argument("--device", required=True, help="name of this device, as it is enrolled")
    init.add_argument("--channel", required=True, help="DEVICE/DOMAIN, as orin/corridor")
    init.add_argument("--url", required=True, help="the publishing folder: http, https, or a folder")
    init.add_argument("--root", required=True, type=Path, metavar="FILE", help="root.json, from whoever publishes, by a way that you trust")
    init.add_argument(
        "--runtime",
        choices=list(SETTINGS),
        default="onnxruntime",
        help="what runs the model; auto is tensorrt where it starts, else onnxruntime (default: onnxruntime)",
    )
    init.add_argument("--shadow", action="store_true", help="let the channel's candidates run beside production, in the time that is left")

    pull = _command(
        subparsers,
        "pull",
        commands.pull,
        "do what the channel asks for: fetch, try out, run or go back",
        "vortex-jetson pull --from /media/usb/publish",
    )
    pull.add_argument("--from", dest="place", metavar="PLACE", help="another publishing folder or address, as a USB stick; verified alike")

    _command(subparsers, "health", commands.health, "have the bundle do its task on its own frames", "vortex-jetson health")
    _command(
        subparsers, "status", commands.status, "what runs, what was asked for, what was rolled back and why", "vortex-jetson status --json"
    )

    rollback = _command(
        subparsers,
        "rollback",
        commands.rollback,
        "go back to what ran before; what runs now is barred here",
        "vortex-jetson rollback --reason 'stops before every door'",
    )
    rollback.add_argument("--reason", required=True, help="why, for whoever reads the report")

    report = _command(subparsers, "report", commands.report, "send the reports that wait", "vortex-jetson report --to /media/usb")
    report.add_argument("--to", dest="place", metavar="PLACE", help="another server or folder than the publishing one")

    run = _command(
        subparsers,
        "run",
        commands.run,
        "answer frames with the version that runs: depth, classes and confidence",
        "vortex-jetson run --source camera:0 --out /tmp/answers",
    )
    _add_source(run, "ros, camera:N, a video, or a folder of frames", required=True)
    run.add_argument("--out", type=Path, metavar="DIR", help="write depth, classes and confidence of every frame there, as .npy")
    run.add_argument(
        "--record", type=Path, metavar="PLACE", help="record frames and answers in this file, or a new one of this folder, as MCAP"
    )
    run.add_argument("--frames", type=_count, metavar="N", help="stop after so many frames")
    run.add_argument("--confidence", metavar="TOPIC", help="with ros: the ToF camera's confidence; without it a depth is believed")
    run.add_argument("--rectified", action="store_true", help="with ros: the pictures are undistorted, their matrix is P")
    run.add_argument("--depth-frame", metavar="FRAME", help="with ros: the frame of depth that lies on colour (default: that of colour)")
    run.add_argument(
        "--ros", nargs=argparse.REMAINDER, default=[], metavar="ARGS", help="last: ROS's own arguments, as -r depth:=/tof/depth"
    )

    build = _command(
        subparsers,
        "build",
        commands.build,
        "build the TensorRT engine of what runs for this machine, and try it out",
        "vortex-jetson build --slot b",
    )
    build.add_argument("--slot", choices=["a", "b"], help="of the bundle in this slot instead of what runs")

    bench = _command(
        subparsers,
        "bench",
        commands.bench,
        "time what runs, and report it: speed, memory and task on one engine",
        "vortex-jetson bench --frames 1000 --send",
    )
    bench.add_argument("--runtime", choices=list(SETTINGS), help="another library than that of the settings")
    bench.add_argument("--frames", type=_count, default=200, metavar="N", help="how many to time (default: 200)")
    bench.add_argument(
        "--shadow", action="store_true", help="time the channel's candidate, which this device fetched, instead of what runs"
    )
    bench.add_argument("--send", action="store_true", help="send what waits now, not with the next pull")

    calibration = _command(
        subparsers,
        "calibrate",
        commands.calibrate,
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

    nav2 = _command(
        subparsers,
        "nav2-params",
        commands.nav2_params,
        "parameters of Nav2's costmap for the classes of the version that runs",
        "vortex-jetson nav2-params --out vortex_costmap.yaml",
    )
    nav2.add_argument("--prefix", default="vortex", help="of the node's topics (default: vortex)")
    nav2.add_argument("--one-layer", action="store_true", help="for a Nav2 before ROS 2 Kilted: all classes inflated as the widest")
    nav2.add_argument("--out", type=Path, metavar="FILE", help="write them there instead of to the terminal")
    return top


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r:.20} is no whole number of 1 and more")
    return int(text)


def _add_source(command: argparse.ArgumentParser, words: str, required: bool) -> None:
    command.add_argument("--source", required=required, metavar="SOURCE", help=f"where frames come from: {words}")


def _command(subparsers: Any, name: str, run: Callable[[argparse.Namespace], int], help_: str, example: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=help_,
        description=f"{help_[0].upper()}{help_[1:]}.",
        epilog=f"Example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--state", type=Path, default=device.STATE, metavar="DIR", help=f"the device's folder (default: {device.STATE})")
    command.add_argument("--json", action="store_true", help="for machines: one JSON document")
    command.set_defaults(run=run)
    return command


if __name__ == "__main__":
    sys.exit(main())
