"""The groups of commands: which command a word means that is none, and usage errors that quote what was typed without obeying it."""

from __future__ import annotations

from typing import Any, Final

import typer
from typer.core import TyperGroup

from core.printable import clean

MEANINGS: Final = {
    "vortex": {
        "evaluate": "test eval score measure benchmark run",
        "predict": "infer inference apply estimate detect depth",
        "video": "film movie render animate gif mp4",
        "versions": "list ls models model registry register version tags",
        "show": "info inspect describe cat view get",
        "runs": "status ps jobs queue experiments top",
        "logs": "log tail output follow",
        "promote": "deploy release ship production prod stage serve push-production approve",
        "rollback": "revert undo rm remove delete drop unregister downgrade",
        "lineage": "tree graph parents ancestry family",
        "history": "events ledger blame reflog who",
        "adopt": "checkpoint weights bring onboard",
        "import": "declare published",
        "export": "onnx convert quantize tensorrt build compile",
        "train": "fit finetune fine-tune distill distil resume start",
        "label": "annotate teach segment pseudo-label",
        "validate": "check lint verify gate qa",
        "data add": "add ingest load dataset datasets",
        "data synth": "synth synthetic generate render simulate",
        "data pull": "pull fetch download clone",
        "data push": "push upload sync",
        "data checkout": "checkout switch",
        "data diff": "changes",
        "compare": "diff vs versus",
        "pareto": "front frontier dominated tradeoff",
        "recommend": "best suggest choose pick which",
        "ui": "web gui dashboard server open mlflow",
        "recipes": "recipe configs configure settings presets",
        "submit": "sbatch slurm cluster launch",
        "pack": "cache preprocess prepare",
        "ablate": "ablation sweep tune hpo grid search",
        "audit verify": "fsck prove",
        "hooks log": "webhook webhooks hook notify notifications outbox subscribe",
        "doctor": "diagnose health env debug",
        "init": "new create setup",
        "demo": "example tutorial quickstart",
    },
    "vortex data": {
        "list": "ls sets datasets status",
        "show": "info inspect describe view cat",
        "add": "import ingest load new create register",
        "synth": "synthetic generate render simulate",
        "pull": "get fetch download",
        "push": "put upload sync publish",
        "checkout": "switch restore rollback version",
        "diff": "compare changes log history",
    },
    "vortex audit": {"verify": "check fsck repair doctor", "head": "sign tip hash"},
}
"""Group → its commands, each with the words by which people look for it who come from other tools."""
REMARKS: Final = {
    **dict.fromkeys(
        ["rm", "remove", "delete", "drop", "unregister"],
        "nothing that was registered is removed; `vortex rollback` takes it out of production",
    ),
}
"""What is to be said of words that mean no command, or not quite the one that is next to them."""
DATA_REMARKS: Final = dict.fromkeys(
    ["rm", "remove", "delete", "drop"],
    "remove the folder data/NAME, and record that with: dvc add data; `vortex data checkout` brings it back",
)

_UsageError: Final[Any] = typer.BadParameter.__base__


class Group(TyperGroup):
    """A group of commands as Typer has it, with other words for its errors."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As Typer has it; the error for a word that is no command says which command is meant by it."""
        try:
            return super().resolve_command(ctx, args)
        except _UsageError as error:
            if meant := meaning(ctx.command_path, args[0]):
                error.message = f"No such command {args[0]!r}: {meant}"
            raise

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As Typer has it; what is wrong with the words can be printed."""
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            raise _cleaned(error) from error

    def invoke(self, ctx: Any) -> Any:
        """As Typer has it; what is wrong with a command's words can be printed."""
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            raise _cleaned(error) from error


def meaning(group: str, word: str) -> str:
    """What a word that is no command of `group` means there; empty where nobody can tell."""
    group = next((name for name in MEANINGS if name != "vortex" and group.endswith(name.removeprefix("vortex"))), "vortex")
    word = word.lower()
    remark = {"vortex": REMARKS, "vortex data": DATA_REMARKS}.get(group, {}).get(word)
    command = next((name for name, words in MEANINGS[group].items() if word in words.split()), None)
    return remark or (f"did you mean '{group} {command}'?" if command else "")


def _cleaned(error: Any) -> Any:
    error.message = clean(error.message)
    return error
