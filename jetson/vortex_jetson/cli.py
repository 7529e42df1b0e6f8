"""`vortex-jetson`: parses, prints, and leaves the deciding to the agent. Exit codes: 0 done, 1 an error, 2 usage, 3 a gate said no, 130 interrupted."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from vortex_jetson import release
from vortex_jetson.commands import add_commands
from vortex_jetson.engines.engine import SETTINGS
from vortex_jetson.errors import HealthFailed, Interrupted, RobotError, plain
from vortex_jetson.update import agent, device, outbox


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
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    init = _command(
        commands,
        "init",
        _init,
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
        commands,
        "pull",
        _pull,
        "do what the channel asks for: fetch, try out, run or go back",
        "vortex-jetson pull --from /media/usb/publish",
    )
    pull.add_argument("--from", dest="place", metavar="PLACE", help="another publishing folder or address, as a USB stick; verified alike")

    _command(commands, "health", _health, "have the bundle do its task on its own frames", "vortex-jetson health")
    _command(commands, "status", _status, "what runs, what was asked for, what was rolled back and why", "vortex-jetson status --json")

    rollback = _command(
        commands,
        "rollback",
        _rollback,
        "go back to what ran before; what runs now is barred here",
        "vortex-jetson rollback --reason 'stops before every door'",
    )
    rollback.add_argument("--reason", required=True, help="why, for whoever reads the report")

    report = _command(commands, "report", _report, "send the reports that wait", "vortex-jetson report --to /media/usb")
    report.add_argument("--to", dest="place", metavar="PLACE", help="another server or folder than the publishing one")
    add_commands(commands, _command, _say)
    return top


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], help_: str, example: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
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


def _init(arguments: argparse.Namespace) -> int:
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


def _pull(arguments: argparse.Namespace) -> int:
    pulled = agent.pull(device.load(arguments.state), arguments.place)
    _say(arguments, asdict(pulled), pulled.reason, *(f"{pulled.received:,} bytes came" for _ in range(pulled.changed)))
    for warning in pulled.warnings:
        print(f"note: {warning}", file=sys.stderr)
    return HealthFailed.exit_code if pulled.outcome == "rolled back" else 0


def _health(arguments: argparse.Namespace) -> int:
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


def _status(arguments: argparse.Namespace) -> int:
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


def _rollback(arguments: argparse.Namespace) -> int:
    slots = agent.roll_back(device.load(arguments.state), arguments.reason)
    _say(arguments, {"version": slots.current.version, "slot": slots.running}, f"{slots.current.version} runs again (slot {slots.running})")
    return 0


def _report(arguments: argparse.Namespace) -> int:
    here = device.load(arguments.state)
    with here.locked():
        count = outbox.send(here, arguments.place)
    _say(arguments, {"sent": count}, f"{count} report{'s' * (count != 1)} sent")
    return 0


def _say(arguments: argparse.Namespace, document: dict[str, Any], *lines: str) -> None:
    """The document for machines, or the lines for people."""
    if arguments.json:
        print(json.dumps(document, indent=2))
    else:
        print("\n".join(map(plain, lines)))


if __name__ == "__main__":
    sys.exit(main())
