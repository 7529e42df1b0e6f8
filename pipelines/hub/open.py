"""The registry of a workspace, and who is asking: the two things every recording command needs."""

from __future__ import annotations

import getpass
import logging
import os
from functools import partial
from pathlib import Path

from core import ending
from pipelines import git
from pipelines.hooks.delivery import after_command
from pipelines.hooks.subscriptions import subscriptions
from pipelines.workspace import Workspace
from registry.versions import Hub

log = logging.getLogger("vortex.git")


def hub(ws: Workspace) -> Hub:
    """The workspace's registry. Cheap: nothing is opened, created or imported before it is needed.

    What is recorded through it goes into the outbox for the workspace's hooks, who are sent it when the command ends.
    Raises VortexError where a hook is to be sent a kind of event that does not exist.
    """
    return Hub.open(
        ws.tracking_uri,
        ws.artifact_root,
        ws.ledger_url,
        ws.ledger_head,
        subscriptions=subscriptions(ws),
        on_queued=partial(ending.at_end, f"hooks of {ws.root}", partial(after_command, ws)),
    )


def actor() -> str:
    """Who acts: `VORTEX_ACTOR` (for CI), else git's user name and address, else the login name."""
    if named := os.environ.get("VORTEX_ACTOR", "").strip():
        return named
    name, address = (_setting(key) for key in ("user.name", "user.email"))
    if name:
        return f"{name} <{address}>" if address else name
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a passwd entry
        return f"uid {os.getuid()}"


def commit(ws: Workspace) -> str | None:
    """The commit that the workspace stands at, as `pipelines.git.head` has it. Where git refuses, a warning says so."""
    head = git.head(ws.root)
    if head.problem:
        log.warning(_remark(head))
    return head.commit


def commit_problem(ws: Workspace) -> str:
    """Why git could not say the whole of that commit; empty where it could."""
    return git.head(ws.root).problem


def commit_remarks(ws: Workspace) -> tuple[str, ...]:
    """The same as a remark on what is planned, so that it can be mended before hours are spent."""
    head = git.head(ws.root)
    return (_remark(head),) if head.problem else ()


def _remark(head: git.Head) -> str:
    return f"{head.problem}; commit {head.commit or 'unknown'} is recorded. To mend it: {head.remedy}"


def _setting(key: str) -> str:
    try:
        return git.ask(Path.cwd(), "config", "--get", key) or ""
    except git.GitRefused:  # then the login name does
        return ""
