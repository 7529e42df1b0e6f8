"""What commands there are, and in which panel of the help each stands."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated

import typer

from vortex_cli import console
from vortex_cli.commands import (
    ablate,
    adopt,
    archive,
    audit,
    bench,
    card,
    ci,
    compare,
    config,
    data,
    data_versions,
    demo,
    devices,
    doctor,
    evaluate,
    evidence,
    export,
    gc,
    history,
    hooks,
    import_,
    init,
    keys,
    label,
    lineage,
    logs,
    migrate,
    pack,
    pareto,
    predict,
    profile,
    promote,
    publish,
    quarantine,
    recipes,
    recommend,
    replay,
    report,
    rollback,
    runs,
    show,
    submit,
    train,
    ui,
    validate,
    versions,
    video,
)
from vortex_cli.group import Group
from vortex_cli.options import as_command

app = typer.Typer(
    name="vortex",
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="From teacher to robot, with every version accounted for.",
    epilog="Start with: vortex demo",
)


def register(group: typer.Typer, function: Callable[..., None], panel: str, name: str | None = None) -> None:
    """Make `function` a command of `group`: its docstring is the help, with the `Example:` below."""
    text, _, example = inspect.cleandoc(function.__doc__ or "").partition("Example:")
    name = name or function.__name__.rstrip("_").replace("_", "-")
    words = f"vortex {name}" if group is app else f"vortex {group.info.name} {name}"
    group.command(
        name,
        help=text.strip(),
        epilog=f"Example: {' '.join(example.split())}" if example else None,
        rich_help_panel=panel,
    )(as_command(function, words))


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        console.write(f"vortex {version('vortex')}")
        raise typer.Exit


@app.callback()
def vortex(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version, and stop.")] = False,
) -> None:
    """From teacher to robot, with every version accounted for."""


data_app = typer.Typer(
    name="data",
    cls=Group,
    no_args_is_help=True,
    help="Frames and their versions: add, make, look at, remove, rename, push, pull, check out, diff.",
)
audit_app = typer.Typer(
    name="audit",
    cls=Group,
    no_args_is_help=True,
    help="The ledger's head, to be kept elsewhere, and all else compared with what the ledger says.",
)
hooks_app = typer.Typer(
    name="hooks", cls=Group, no_args_is_help=True, help="Whom the workspace tells of events: what was sent, what waits and why."
)
evidence_app = typer.Typer(
    name="evidence",
    cls=Group,
    no_args_is_help=True,
    help="Reports of how a version did outside of Vortex: closed loop, device, shadow, field.",
)

devices_app = typer.Typer(
    name="devices", cls=Group, no_args_is_help=True, help="Enrolled devices: what each runs, its key, and its signed reports."
)
keys_app = typer.Typer(
    name="keys",
    cls=Group,
    no_args_is_help=True,
    help="What signs for robots, by role: make, replace, renew, look at, and a timer that renews.",
)

register(app, init.init, "Start")
register(app, demo.demo, "Start")
register(app, doctor.doctor, "Start")
register(app, config.config, "Start")

register(data_app, data.add, "Data")
register(data_app, data.synth, "Data")
register(data_app, data.list_, "Data")
register(data_app, data.show, "Data")
register(data_app, data.remove, "Data")
register(data_app, data.rename, "Data")
register(data_app, data_versions.push, "Data")
register(data_app, data_versions.pull, "Data")
register(data_app, data_versions.checkout, "Data")
register(data_app, data_versions.diff, "Data")
app.add_typer(data_app, rich_help_panel="Data")
register(app, label.label, "Data")
register(app, validate.validate, "Data")
register(app, pack.pack, "Data")

register(app, train.train, "Train")
register(app, submit.submit, "Train")
register(app, runs.runs, "Train")
register(app, logs.logs, "Train")
register(app, recipes.recipes, "Train")
register(app, profile.profile, "Train")
register(app, ablate.ablate, "Train")
register(app, replay.replay, "Train")

register(app, versions.versions, "Know")
register(app, show.show, "Know")
register(app, lineage.lineage, "Know")
register(app, compare.compare, "Know")
register(app, pareto.pareto, "Know")
register(app, recommend.recommend, "Know")
register(app, evaluate.evaluate, "Know")
register(app, predict.predict, "Know")
register(app, video.video, "Know")
register(app, report.report, "Know")
register(app, card.card, "Know")
register(app, history.history, "Know")
register(app, ui.ui, "Know")

register(app, import_.import_, "Bring")
register(app, adopt.adopt, "Bring")
register(evidence_app, evidence.add, "Bring")
register(evidence_app, evidence.list_, "Bring")
register(evidence_app, evidence.schema, "Bring")
app.add_typer(evidence_app, rich_help_panel="Bring")

register(app, export.export, "Ship")
register(app, bench.bench, "Ship")
register(app, promote.promote, "Ship")
register(app, rollback.rollback, "Ship")
register(app, publish.publish, "Ship")
register(app, quarantine.quarantine, "Ship")
register(audit_app, audit.head, "Ship")
register(audit_app, audit.verify, "Ship")
app.add_typer(audit_app, rich_help_panel="Ship")
register(devices_app, devices.list_, "Ship")
register(devices_app, devices.enroll, "Ship")
register(devices_app, devices.revoke, "Ship")
register(devices_app, devices.collect, "Ship")
app.add_typer(devices_app, rich_help_panel="Ship")
register(keys_app, keys.init, "Ship")
register(keys_app, keys.rotate, "Ship")
register(keys_app, keys.refresh, "Ship")
register(keys_app, keys.status, "Ship")
register(keys_app, keys.timer, "Ship")
app.add_typer(keys_app, rich_help_panel="Ship")

register(hooks_app, hooks.log, "Ship")
register(hooks_app, hooks.replay, "Ship")
register(hooks_app, hooks.test, "Ship")
register(hooks_app, hooks.drop, "Ship")
app.add_typer(hooks_app, rich_help_panel="Ship")

register(app, ci.ci, "Keep")
register(app, migrate.migrate, "Keep")
register(app, gc.gc, "Keep")
register(app, archive.archive, "Keep")
register(app, archive.restore, "Keep")
