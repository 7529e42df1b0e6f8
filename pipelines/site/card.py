"""A version's card for the Hugging Face hub: what the ledger knows of it, as people and as the hub read it.

What was measured here is in the metadata (`model-index`, and `.eval_results` for datasets that the hub has). What was only declared is in
the text, in a section of its own, and in no metadata. The hub's own mark `verified` is never set: it is the hub's to give.
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.classes import CLASSES
from core.depth import RANGES_M
from core.errors import UsageError, VortexError
from core.files import write_atomic
from core.printable import clean
from core.secret import remember
from pipelines.compare.forgetting import Forgetting, forgetting
from pipelines.compare.pooled import METRICS
from pipelines.hub.classes import class_pixels, untaught
from pipelines.hub.open import hub
from pipelines.site.results import OF_CLASSES, SHOWN, Results, results
from pipelines.workspace import FILE, HubNames, Workspace
from registry.declarations import DeclaredVersion, figures
from registry.edges import VersionEdge, WeightsEdge
from registry.quarantine import Bar, bars_of
from registry.records import Metrics, Version
from registry.versions import Hub

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData

TASK: Final = "depth-estimation"
README: Final = "README.md"
HTTP: Final = "httpx2"
"""The library by which huggingface_hub speaks, and whose errors of the network it lets pass."""
_MARKS: Final = re.compile(r"([\\`*_\[\]#!|~$]|^[-+])")
"""What Markdown would take for a command; at its beginning a line could be an item of a list."""


@dataclass(frozen=True)
class Card:
    """A card: the text of README.md with its metadata, and the files of `.eval_results` by their path in the repository."""

    version: str
    readme: str
    eval_results: dict[str, str]

    def files(self) -> dict[str, str]:
        """Path in the repository → text."""
        return {README: self.readme, **self.eval_results}

    def save(self, readme: Path) -> list[Path]:
        """Write the text to `readme` and the rest beside it, each file whole or not at all."""
        paths = {readme: self.readme} | {readme.parent / path: text for path, text in self.eval_results.items()}
        for path, text in paths.items():
            write_atomic(path, text)
        return list(paths)


def card(ws: Workspace, name: str, *, event: int | None = None) -> Card:
    """The card of a version, which says that it was written at `event` of the ledger; default: the newest.

    Raises VortexError for an unknown one, and for names in vortex.toml that no card can have.
    """
    from huggingface_hub import ModelCard

    registry = hub(ws)
    version = registry.get(name)
    names = ws.config.huggingface
    data = _metadata(registry, version, names)
    text = "\n\n".join(part for part in _sections(registry, version, event or registry.ledger.verify().seq) if part)
    readme = f"---\n{data.to_yaml()}\n---\n\n{text}\n"
    return Card(name, str(ModelCard(readme)), dict(_eval_results(version, names)))


def _metadata(registry: Hub, version: Version, names: HubNames) -> ModelCardData:
    from huggingface_hub import ModelCardData

    line = registry.weights_line(version)
    ancestors = [(ancestor, record) for ancestor, record in line.items() if ancestor != version.name]
    base = next((hub_id for ancestor, record in ancestors if (hub_id := _hub_id(ancestor, record, names))), None)
    sets = [names.datasets[use.name].id for use in version.data if use.name in names.datasets]
    exams = _exams(version)
    return ModelCardData(
        license=names.license,
        base_model=base,
        base_model_relation="finetune" if base else None,
        datasets=list(dict.fromkeys(sets)) or None,
        pipeline_tag=TASK,
        tags=["vortex", "monocular-depth-estimation", "metric-depth", "semantic-segmentation"],
        model_name=clean(f"{version.name} {version.codename}".strip()) if exams else None,
        eval_results=[result for metrics in exams for result in _model_index(metrics, names)] or None,
    )


def _hub_id(name: str, version: Version | DeclaredVersion | None, names: HubNames) -> str | None:
    """What a version is called on the hub: as vortex.toml says, else as was declared of it."""
    declaration = version.declaration if version else None
    return names.models.get(name) or (declaration.hub_id if declaration else None)


def _exams(version: Version) -> list[Metrics]:
    return [metrics for metrics in version.metrics if metrics.series.exam]


def _model_index(metrics: Metrics, names: HubNames) -> Iterator[EvalResult]:
    """The figures of an exam; the dataset's arguments tell two cameras, states and protocols apart, which the hub would join.

    What is not finite is left out: the hub has no number for it, and the text says so.
    """
    from huggingface_hub import EvalResult

    on_hub = names.datasets.get(metrics.dataset)
    split = metrics.protocol.partition("-")[0]
    for name in (*SHOWN, *OF_CLASSES):
        if math.isfinite(metrics.values.get(name, math.nan)):
            yield EvalResult(
                task_type=TASK,
                dataset_type=on_hub.id if on_hub else clean(metrics.dataset),
                dataset_name=clean(metrics.series.place),
                dataset_config=clean(f"{metrics.camera}, {metrics.protocol}, {metrics.digest[:12]}"),
                dataset_split={"val": "validation"}.get(split, split),
                dataset_args={
                    "camera": clean(metrics.camera),
                    "protocol": metrics.protocol,
                    "content": metrics.digest,
                    "frames": metrics.frames,
                },
                metric_type=name,
                metric_name=METRICS[name].heading,
                metric_value=metrics.values[name],
            )


def _eval_results(version: Version, names: HubNames) -> Iterator[tuple[str, str]]:
    """A file for each dataset that the hub has a leaderboard of."""
    from huggingface_hub import eval_result_entries_to_yaml
    from ruamel.yaml import YAML

    entries: dict[str, list[EvalResultEntry]] = {}
    for metrics in _exams(version):
        if metrics.dataset in names.datasets:
            entries.setdefault(metrics.dataset, []).extend(_entries(metrics, names))
    for dataset, of_dataset in entries.items():
        if of_dataset:
            text = io.StringIO()
            YAML().dump(eval_result_entries_to_yaml(of_dataset), text)
            yield f".eval_results/{dataset}.yaml", text.getvalue()


def _entries(metrics: Metrics, names: HubNames) -> Iterator[EvalResultEntry]:
    from huggingface_hub import EvalResultEntry

    dataset = names.datasets[metrics.dataset]
    for task, metric in dataset.tasks.items():
        if metric not in METRICS:
            raise UsageError(
                f"{FILE}: huggingface.datasets.{metrics.dataset}.tasks.{task} is {metric!r}, allowed: {', '.join(METRICS)}",
                "name one of them",
            )
        if math.isfinite(metrics.values.get(metric, math.nan)):
            yield EvalResultEntry(
                dataset_id=dataset.id,
                task_id=task,
                value=metrics.values[metric],
                notes=clean(
                    f"{METRICS[metric].heading}, {metrics.camera}, {metrics.frames} frames, {metrics.protocol}, not aligned,"
                    f" content {metrics.digest[:12]}"
                ),
            )


def plain(text: object) -> str:
    """Text of users within Markdown: read as it was written, on one line, and never obeyed."""
    line = " ".join(clean(str(text)).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKS.sub(r"\\\1", line)


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return "\n".join(lines + [f"| {' | '.join(plain(cell) for cell in row)} |" for row in rows])


def _sections(registry: Hub, version: Version, event: int) -> Iterator[str]:
    height, width = version.size
    exams = _exams(version)
    forgot = forgetting(registry, version)
    pixels = class_pixels(registry, version)
    yield f"# {plain(f'{version.name} {version.codename}'.strip())}"
    yield (
        f"A student network that tells metric depth and six classes from one RGB picture of {height}x{width} (height x width)"
        + (f", trained for the domain {plain(version.domain)}." if version.domain else ".")
        + f" Registered {version.created_at[:10]}; written from a Vortex ledger at event {event}."
    )
    yield "## Intended use"
    yield _use(version)
    yield "## Input, output, depth range"
    yield (
        f"RGB in [0, 1], `[B, 3, {height}, {width}]`; ImageNet's normalisation is part of the network. Depth in metres, `[B, 1, {height}, {width}]`,"
        f" and logits of the classes {', '.join(CLASSES)}, in this order. Depth was measured up to 10 m;"
        f" near, mid and far are {', '.join(f'{low:g} to {high:g} m' for low, high in RANGES_M.values())}."
    )
    yield "## Training data"
    yield _data(version)
    yield "## Classes"
    yield _classes(pixels)
    yield "## Results, measured"
    yield _results((*results(exams), *results(exams, OF_CLASSES)))
    declared = figures(version.published)
    if declared:
        yield "## Published elsewhere, not measured here"
        yield "Declared by whoever published them. Nothing was judged by these figures, and the metadata of this card leaves them out."
        yield _table(("place", "figures"), declared)
    yield "## Lineage"
    yield "\n".join(f"- {plain(' '.join(part for part in edge.triple() if part))}" for edge in version.parents) or "Nothing is recorded."
    yield "## Limits"
    yield "\n".join(f"- {limit}" for limit in _limits(version, forgot, pixels, bars_of(registry.ledger, version.name)))
    yield "## Files"
    rows = [("checkpoint", version.checkpoint.sha256, version.checkpoint.bytes)]
    rows += [(export.form, export.artifact.sha256, export.artifact.bytes) for export in version.exports]
    yield _table(("file", "SHA-256", "bytes"), rows)


def _use(version: Version) -> str:
    where = f"Depth and classes for a robot in {plain(version.domain)}" if version.domain else "A base to fine-tune from"
    stages = [f"{stage} on {plain(channel)}" for channel, stage in version.stages]
    state = (
        f"When this was written it was in {', '.join(stages)}." if stages else "When this was written it was in no stage of any channel."
    )
    return f"{where}, with the camera that its results name. {state} It is no safety function: a robot needs a sensor that sees glass."


def _data(version: Version) -> str:
    rows = [
        (use.name, use.domain, ", ".join(f"{count} {split}" for split, count in use.frames.items()), use.state, use.digest[:12])
        for use in version.data
    ]
    return _table(("dataset", "domain", "frames", "data gate", "content"), rows) if rows else "No dataset is recorded."


def _classes(pixels: dict[str, int] | None) -> str:
    if pixels is None:
        return "The labelled pixels of its training were not counted."
    return _table(("class", "labelled pixels in training"), [(name, f"{count:,}") for name, count in pixels.items()])


def _results(tables: Sequence[Results]) -> str:
    if not tables:
        return "It has sat no exam: nothing is known of how good it is."
    parts = ["Whole held-out splits of data that passed its gate; raw depth, neither aligned nor averaged over augmentations."]
    for table in tables:
        rows = [(row.place, f"{row.dataset}@{row.digest[:12]}", row.frames, *(text for _, text in row.figures)) for row in table.rows]
        parts += [f"By `{clean(table.protocol)}`:", _table(("measured on", "data", "frames", *table.headings), rows)]
    return "\n\n".join(parts)


def _limits(version: Version, forgot: Sequence[Forgetting], pixels: dict[str, int] | None, bars: Sequence[Bar]) -> Iterator[str]:
    for bar in bars:
        what = f"the dataset {bar.quarantine}" if bar.quarantine.scope == "data" else str(bar.quarantine)
        yield plain(f"Do not deploy it: {what} is in quarantine since {bar.quarantine.at[:10]}: {bar.quarantine.reason}.")
    exams = _exams(version)
    if exams:
        yield f"Nothing is known of it outside of {plain(', '.join(dict.fromkeys(metrics.series.place for metrics in exams)))}."
    else:
        yield "It was measured in no exam."
    for record in forgot:
        change = f"{record.metric} on {record.domain}"
        if record.forgotten:
            yield plain(
                f"It forgot what {record.parent} knew: {change} went from {record.text(record.parent_value)} to {record.text(record.value)}"
                f" ({100 * (record.share or 0):+.1f} %)."
            )
        elif record.verdict is None:
            yield plain(f"Whether it forgot {change} is not known: it and {record.parent} have no exam there in common.")
        elif record.verdict.word == "open":
            yield plain(f"Whether it forgot {change} is not known: {record.verdict.reason}.")
    if untaught(pixels):
        yield "No class was ever trained: its class output means nothing."
    elif pixels and (without := [name for name, count in pixels.items() if not count]):
        yield f"It was never trained on {', '.join(without)}."
    if version.truncated:
        yield plain(f"Its training was cut short: {version.truncated}.")
    unproven = [f"{use.name}: {use.state}" for use in version.data if use.state != "passed"]
    if version.adoption:
        yield plain(f"Its checkpoint was adopted from {version.adoption.source}: what it was trained on is declared, and not proven.")
    elif unproven:
        yield plain(f"It was trained on data that had not passed its gate: {', '.join(unproven)}.")
    if any(isinstance(edge, WeightsEdge) for edge in version.parents):
        names = ", ".join(edge.version for edge in version.parents if isinstance(edge, VersionEdge) and isinstance(edge, WeightsEdge))
        yield plain(f"It started from the weights of {names}, and has their limits too.")


def push(card: Card, repository: str) -> str:
    """Put a card into a model repository of the hub, as one commit, and return the commit's address.

    A repository that does not exist is made, private. The token is that of HF_TOKEN or of `hf auth login`; `HF_ENDPOINT` names another hub.
    Raises UsageError for what is no repository's name, VortexError where the hub refuses or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    if not re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", repository):
        raise UsageError(f"--push {repository!r} is no repository, allowed: OWNER/NAME", "for example --push my-team/corridor-depth")
    token = get_token()
    if not token:
        raise VortexError("the hub wants a token, and none is set", "set HF_TOKEN, or log in with: hf auth login")
    remember(token)
    endpoint = os.environ.get("HF_ENDPOINT") or None
    api = HfApi(endpoint=endpoint, token=token, library_name="vortex")
    operations = [CommitOperationAdd(path, text.encode()) for path, text in card.files().items()]
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        commit = api.create_commit(repository, operations, commit_message=f"Card of {card.version}, written by vortex")
    except HfHubHTTPError as error:
        code = error.response.status_code
        raise VortexError(
            f"the hub refused the card of {card.version} for {repository}: {error.server_message or f'status {code}'}",
            "the token may not write there: see its rights on the hub"
            if code in (401, 403)
            else "check the repository's name, and try again",
        ) from error
    except Exception as error:
        if not isinstance(error, (OSError, ValueError)) and type(error).__module__.partition(".")[0] != HTTP:
            raise
        raise VortexError(
            f"the hub cannot be reached for {repository}: {error}", "check the network and HF_ENDPOINT, and try again"
        ) from error
    return str(commit.commit_url)
