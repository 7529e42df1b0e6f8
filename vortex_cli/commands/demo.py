"""`vortex demo`: the main job, as the commands a person would type; and what comes of it on a robot."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex_cli import console
from vortex_cli.commands.keys import PASSPHRASE

if TYPE_CHECKING:
    from pipelines.demo_robot import RobotDemo, RobotSummary

STEPS = """
data synth rooms --world rooms --frames 240 --seed 1 --size 96x128
data synth corridor --world corridor --frames 200 --seed 2 --size 96x128
validate rooms
validate corridor
train v6 --domain rooms --encoder-weights none --epochs 12 --size 96x128
evaluate v6 --domain corridor
train --from v6 --domain corridor --epochs 12
evaluate v10 --domain rooms
compare v6 v10
promote v10 --stage production
versions
lineage
"""
ROBOT_STEPS = """
vortex data synth corridor --world corridor --frames 200 --seed 2 --size 96x128
vortex validate corridor
vortex keys init --root ./../robot-demo-root-key
vortex train v6 --domain corridor --encoder-weights none --epochs 10 --size 96x128
vortex promote v6 --stage production --device orin
vortex-jetson init --device robot-7 --channel orin/corridor --url URL --root ./publish/metadata/1.root.json
vortex devices enroll robot-7 --key ./robot-7/device.pub --channel orin/corridor
vortex-jetson pull
vortex data synth recorded --world corridor --domain recorded --frames 24 --seed 9 --size 96x128
by-hand record
vortex-jetson run --source ./recording/with-tof --out ./answers/with-tof
vortex-jetson run --source ./recording/colour-alone --out ./answers/colour-alone
vortex train --from v6 --domain corridor --epochs 12
vortex promote v10 --stage production --device orin --override --reason "trained further; the demo's exam is small"
by-hand damage
vortex publish
vortex-jetson pull  # 3
vortex-jetson status
vortex-jetson report --to ./inbox
vortex devices collect ./inbox
vortex rollback --device orin --reason "robot-7 rolled v10 back: its depth is constant"
vortex-jetson pull
vortex-jetson report --to ./inbox
vortex devices collect ./inbox
vortex devices list
vortex lineage v10 --down
vortex history --last 6
"""
"""Words that begin with a dot are paths from the workspace; what is done by hand is a method of `RobotDemo`; `# 3` is the expected exit code."""
DEMO_PASSPHRASE = "only a demonstration"


def demo(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A new folder for the demo's workspace; default: build/demo.")
    ] = None,
    robot: Annotated[
        bool, typer.Option("--robot", help="What comes after: a robot pulls what is promoted, and rolls a broken version back by itself.")
    ] = False,
) -> None:
    """Run the main job on synthetic frames: two places, a base, a specialist, a promotion.

    With --robot, which has a workspace of its own (build/demo-robot): a promotion is published, served and pulled by a simulated robot, which
    does its task with it on a recorded corridor; then a version whose file broke after its gates is pulled, and the robot goes back by itself.

    Every step is a command you can type yourself; the demo has a workspace of its own and takes a few minutes on two cores.

    Example: vortex demo
    """
    if robot:
        robot_demo(context, folder)
        return
    from pipelines.demo import prepare, summary

    started = time.monotonic()
    workspace = prepare(folder)
    steps = [shlex.split(step) for step in STEPS.strip().splitlines()]
    for number, step in enumerate(steps, 1):
        console.rule(f"{number}/{len(steps)}  vortex {shlex.join(step)}")
        run(context, [*step, "--workspace", str(workspace.root)])
    result = summary(workspace, time.monotonic() - started)
    console.rule("result")
    console.emit(
        result,
        console.table(
            ["version", "trained on", *[(f"{domain} {metric}", "right") for domain in result.domains for metric in ("RMSE m", "mIoU %")]],
            [(row.version, row.trained_on, *row.cells) for row in result.rows],
        ),
        *result.findings,
        f"report: {result.report}",
        f"pictures: {', '.join(str(picture) for picture in result.pictures)}",
        f"look around: cd {workspace.root} && vortex show v10",
        f"done in {result.seconds:.0f} s",
    )


def robot_demo(context: typer.Context, folder: Path | None) -> None:
    """Run the robot's part, on a workspace of its own."""
    from pipelines.demo import prepare
    from pipelines.demo_robot import RobotDemo

    started = time.monotonic()
    robot = RobotDemo(prepare(folder, "demo-robot"))
    robot.prepare()
    os.environ.setdefault(PASSPHRASE, DEMO_PASSPHRASE)
    steps = ROBOT_STEPS.strip().splitlines()
    with robot.serving():
        for number, step in enumerate(steps, 1):
            console.rule(f"{number}/{len(steps)}  {step.partition('  #')[0]}")
            _robot_step(context, robot, step)
    result = robot.summary(time.monotonic() - started)
    console.rule("result")
    console.emit(result, *_outcome(result))


def _robot_step(context: typer.Context, robot: RobotDemo, step: str) -> None:
    program, *words = shlex.split(step, comments=True)
    if program == "by-hand":
        console.note(getattr(robot, words[0])())
        return
    words = [robot.path(word) for word in words]
    if program == "vortex":
        run(context, [*words, "--workspace", str(robot.ws.root)])
        return
    printed, remarks = robot.agent(words, int(step.partition("  # ")[2] or 0))
    for text, say in ((printed, console.note if console.session.json else console.write), (remarks, console.note)):
        if text.strip():
            say(text.rstrip())


def _outcome(result: RobotSummary) -> list[str]:
    errors = result.errors
    return [
        f"{result.robot} pulled v6, saw that it does its task, and ran it in a new corridor:",
        f"  {errors.frames} frames; the ToF camera saw {errors.seen:.0%} of the pixels",
        f"  depth off by {errors.fused:.3f} m fused (RMSE), {errors.student:.3f} m by the student alone",
        f"v10 passed its gates, then its file broke, and {result.robot} went back by itself:",
        *(f"  {part}" for part in result.rolled_back.split(": ", 1)),
        "the ledger knows why v10 left production:",
        f"  {result.left}",
        f"{result.robot} runs {result.runs}",
        f"report: {result.report}",
        f"look around: cd {result.workspace} && vortex history",
        f"done in {result.seconds:.0f} s",
    ]


def run(context: typer.Context, arguments: list[str]) -> None:
    """Run one command line in this process, exactly as the shell would; errors reach the caller.

    Under `--json` stdout belongs to the demo's one document, so what the steps print moves to stderr.
    """
    options = dataclasses.replace(console.session)
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        context.find_root().command.main(arguments, "vortex", standalone_mode=False)
    console.session.restore(options)
