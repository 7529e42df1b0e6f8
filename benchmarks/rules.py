"""The hub against a small model of its rules: commands in random orders, kills between them, and after each what must be true.

    make bench-rules            (benchmarks/rules.py [--examples 40] [--steps 40] [--smoke])

The model is plain Python: names, what each version has the weights of, what stands in quarantine, and for each channel a stack. Asked
after every step: the names are the model's, each channel has the model's version in production, the ledger's audit finds nothing, and
the history of every past instant is what it was then. At the end of each example MLflow and all stored files are audited as well.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final

from hypothesis import HealthCheck, Verbosity, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from core.errors import VortexError
from pipelines.archive.restoring import restore
from pipelines.archive.writing import archive
from pipelines.data import catalogue, datasets
from pipelines.hub import evidence
from pipelines.hub.history import moment
from pipelines.hub.lineage_file import SHIPPED_FILE
from pipelines.hub.migration import migrate
from pipelines.hub.open import hub
from pipelines.hub.published import import_lineage
from pipelines.retention.removal import clean
from pipelines.workspace import Workspace, load
from registry import quarantine, stages
from registry.audit import ledger_faults
from registry.channels import Channel
from registry.database import Moved
from registry.declarations import Adoption
from registry.edges import WeightsEdge
from registry.records import Artifact, DataUse, Export, Metrics, NewVersion
from registry.stages import StageJudgement, channel_state, record_promotion

CHANNELS: Final = (Channel("host", "corridor"), Channel("jetson", "corridor"))
PLACES: Final = {
    folder: {
        "tracking_uri": f"sqlite:///{folder}/mlflow.db",
        "artifact_root": f"{folder}/artifacts",
        "ledger": f"sqlite:///{folder}/ledger.db",
    }
    for folder in ("mlruns", "moved")
}
WHO: Final[dict[str, Any]] = {"actor": "model", "reason": "a rule of it"}
USE: Final = DataUse("corridor", "corridor", "corridor", "ab" * 32, None, True, {"train": 9})


class _Rules(RuleBasedStateMachine):
    """A registry, and the model of it. `blank` is a workspace with an empty MLflow store, and datasets where `slow` rules are wanted."""

    blank: ClassVar[Path]
    slow: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="vortex-rules-"))
        shutil.copytree(self.blank, self.folder / "ws", symlinks=True)
        self.weights: dict[str, str | None] = {}
        """Version with weights → the one whose weights are in it."""
        self.declared: set[str] = set()
        self.quarantined: set[str] = set()
        self.stacks: dict[Channel, list[str]] = {channel: [] for channel in CHANNELS}
        self.instants: list[tuple[datetime, dict[str, str]]] = []
        self.sets: set[str] = set()
        self.place = "mlruns"
        self.count = 0

    @property
    def ws(self) -> Workspace:
        return load(self.folder / "ws")

    @initialize()
    def begin(self) -> None:
        self.sets = {dataset.name for dataset in datasets.listing(self.ws)}
        self.register(None)

    def teardown(self) -> None:
        try:
            if self.weights:
                from benchmarks.kills_registry import all_faults

                assert all_faults(hub(self.ws)) == []
        finally:
            shutil.rmtree(self.folder)

    def names(self) -> list[str]:
        return sorted(self.weights, key=lambda name: int(name[1:]))

    def a_version(self, choice: int) -> str:
        return self.names()[choice % len(self.weights)]

    def next_name(self) -> str:
        return f"v{max([9, *(int(name[1:]) for name in {*self.weights, *self.declared})]) + 1}"

    def line(self, name: str | None) -> list[str]:
        """A version and those whose weights are in it."""
        return [] if name is None else [name, *self.line(self.weights[name])]

    def barred(self, name: str) -> bool:
        return not self.quarantined.isdisjoint(self.line(name))

    def stored(self, folder: str, suffix: str) -> tuple[str, Artifact]:
        """A run with a file of its own."""
        self.count += 1
        path = self.folder / f"file-{self.count}{suffix}"
        path.write_text(f"{folder} {self.count}")
        store = hub(self.ws).store
        run = store.start_run(folder)
        stored = store.log_artifact(run, path, folder)
        store.end_run(run)
        return run, stored

    def new_version(self, parent: str | None) -> NewVersion:
        run, weights = self.stored("checkpoint", ".safetensors")
        edges = () if parent is None else (WeightsEdge(parent),)
        return NewVersion(None, parent is not None, {}, edges, "corridor", (USE,), (48, 64), run, run, weights)

    @rule(choice=st.none() | st.integers(0, 50))
    def register(self, choice: int | None) -> None:
        parent = None if choice is None else self.a_version(choice)
        name = self.next_name()
        assert hub(self.ws).register(self.new_version(parent), **WHO).name == name
        self.weights[name] = parent

    @rule()
    def adopt(self) -> None:
        name = self.next_name()
        adoption = Adoption("old.pt", "cd" * 32, "model", ())
        assert hub(self.ws).adopt(name, self.new_version(None), adoption, **WHO).name == name
        self.weights[name] = None

    @rule(choice=st.integers(0, 50))
    def measure_and_export(self, choice: int) -> None:
        name, registry = self.a_version(choice), hub(self.ws)
        _, errors = self.stored("evaluations", ".npz")
        registry.add_metrics(
            name, Metrics("corridor", "femto", "val-pooled-10m/1", "corridor", "ab" * 32, {"rmse": 0.5}, 9, errors), actor="model"
        )
        _, network = self.stored("exports", ".onnx")
        registry.add_export(
            name, Export(network, size=(48, 64), parity_m=1e-5, class_agreement=1.0, parity_on="corridor", frames=9), actor="model"
        )
        assert registry.get(name).exports[-1].artifact == network

    @rule()
    def import_published(self) -> None:
        report = import_lineage(self.ws, SHIPPED_FILE)
        published = {f"v{number}" for number in range(1, 10)}
        assert set(report.declared) == published - self.declared
        self.declared |= published

    @rule(choice=st.integers(0, 50))
    def add_evidence(self, choice: int) -> None:
        version = hub(self.ws).get(self.a_version(choice))
        drive = {"device": "host", "place": "hall", "hours": 1, "distance_m": 100, "interventions": 0, "collisions": 0}
        bound = {"format": 1, "kind": "field", "checkpoint_sha256": version.checkpoint.sha256, "made_at": "2026-03-01T12:00:00Z"}
        file = self.folder / "report.json"
        file.write_text(json.dumps({**bound, **drive, "made_by": "model"}))
        assert evidence.add(self.ws, version.name, file, "field").already == bool(version.evidence)

    @rule(choice=st.integers(0, 50), lift=st.booleans())
    def quarantine(self, choice: int, lift: bool) -> None:
        name = self.a_version(choice)
        expected = (name in self.quarantined) == lift
        assert refused(lambda: quarantine.record(hub(self.ws).ledger, "version", name, lift=lift, **WHO)) == (not expected)
        if expected:
            self.quarantined ^= {name}

    @rule(choice=st.integers(0, 50), channel=st.sampled_from(CHANNELS))
    def promote(self, choice: int, channel: Channel) -> None:
        name = self.a_version(choice)
        assert refused(lambda: move(self.ws, channel, name)) == self.barred(name)
        if not self.barred(name):
            self.promoted(channel, name)

    def promoted(self, channel: Channel, name: str) -> None:
        if self.stacks[channel][-1:] != [name]:
            self.stacks[channel].append(name)

    @rule(channel=st.sampled_from(CHANNELS))
    def roll_back(self, channel: Channel) -> None:
        stack = self.stacks[channel]
        possible = len(stack) > 1 and not self.barred(stack[-2])
        assert refused(lambda: stages.rollback(hub(self.ws).ledger, channel, **WHO)) == (not possible)
        if possible:
            stack.pop()
            hub(self.ws).refresh_aliases(channel)

    @rule(choice=st.integers(0, 50))
    def a_judgement_of_before_is_refused(self, choice: int) -> None:
        channel = CHANNELS[0]
        seq = channel_state(hub(self.ws).ledger, channel).seq
        assert refused(lambda: move(self.ws, channel, self.a_version(choice), seq + 1))

    @rule()
    def clean_up(self) -> None:
        assert not [item for item in clean(self.ws, apply=True, older_s=0).going if item.kind == "artifact"]

    @precondition(lambda self: self.slow)
    @rule()
    def archive_and_restore(self) -> None:
        self.count += 1  # MLflow keeps a database open: another one must not take its place
        folder, other = self.folder / "archive", self.folder / f"restored-{self.count}"
        archive(self.ws, folder)
        shutil.copytree(self.blank, other, symlinks=True)
        restore(load(other), folder)
        assert list(hub(load(other)).ledger.rows(0)) == list(hub(self.ws).ledger.rows(0))

    @precondition(lambda self: self.slow)
    @rule()
    def migrate_there_or_back(self) -> None:
        old, self.place = hub(self.ws), "moved" if self.place == "mlruns" else "mlruns"
        file = self.folder / "places.toml"
        file.write_text("".join(f'{key} = "{value}"\n' for key, value in PLACES[self.place].items()))
        migrate(self.ws, file)
        try:
            quarantine.record(old.ledger, "version", self.names()[0], lift=self.names()[0] in self.quarantined, **WHO)
        except Moved:
            return
        raise AssertionError("the old ledger took an event")

    @precondition(lambda self: self.slow and self.sets)
    @rule(choice=st.integers(0, 50), remove=st.booleans())
    def rename_or_remove(self, choice: int, remove: bool) -> None:
        name = sorted(self.sets)[choice % len(self.sets)]
        self.sets.remove(name)
        if remove and self.sets:
            catalogue.remove(self.ws, name)
        else:
            self.count += 1
            catalogue.rename(self.ws, name, f"set{self.count}")
            self.sets.add(f"set{self.count}")
        assert {dataset.name for dataset in datasets.listing(self.ws)} == self.sets

    @precondition(lambda self: self.slow)
    @rule(choice=st.integers(0, 50), kill_at=st.integers(1, 30))
    def promote_and_be_killed(self, choice: int, kill_at: int) -> None:
        from benchmarks.kills_registry import counted

        name, channel = self.a_version(choice), CHANNELS[0]
        before = channel_state(hub(self.ws).ledger, channel).seq
        child = os.fork()
        if child == 0:
            counted(self.folder / "ws", kill_at)
            refused(lambda: move(self.ws, channel, name))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) in (0, signal.SIGKILL)
        if channel_state(hub(self.ws).ledger, channel).seq > before:
            assert not self.barred(name)
            self.promoted(channel, name)
        elif not self.barred(name):
            move(self.ws, channel, name)
            self.promoted(channel, name)
        hub(self.ws).refresh_aliases(channel)

    @invariant()
    def what_the_ledger_says_is_what_the_model_says(self) -> None:
        if not self.weights:
            return
        registry = hub(self.ws)
        assert [summary.name for summary in registry.summaries()] == self.names()
        assert {declared.name for declared in registry.declared()} == self.declared
        assert {name for name, bars in registry.barred().items() if bars} == {name for name in self.weights if self.barred(name)}
        for channel, stack in self.stacks.items():
            state = channel_state(registry.ledger, channel)
            assert [*state.earlier, *filter(None, [state.production])] == stack
        assert ledger_faults(registry.ledger)[1] == []

    @invariant()
    def the_past_stays_what_it_was(self) -> None:
        ledger = hub(self.ws).ledger
        time.sleep(0.002)  # the ledger counts milliseconds
        now = {str(channel): stack[-1] for channel, stack in self.stacks.items() if stack}
        self.instants.append((datetime.now(UTC), now))
        time.sleep(0.002)
        for at, then in self.instants:
            assert {holder.channel: holder.version for holder in moment(ledger, at).channels if holder.stage == "production"} == then


def move(ws: Workspace, channel: Channel, name: str, seq: int | None = None) -> None:
    """Put a version into production, whatever the gates would say; `seq` is where the channel stood when it was judged."""
    registry = hub(ws)
    judged = channel_state(registry.ledger, channel).seq if seq is None else seq
    judgements = [StageJudgement(stage, True) for stage in ("candidate", "staging", "production")]
    record_promotion(registry.ledger, channel, name, judgements, judged, **WHO)
    registry.refresh_aliases(channel)


def refused(command: Callable[[], Any]) -> bool:
    """Whether a command is refused in words."""
    try:
        command()
    except VortexError:
        return True
    return False


def blank(root: Path, sets: int) -> Path:
    """A workspace with an empty MLflow store and some datasets."""
    from pipelines.init import init
    from pipelines.synthetic.dataset import synthesise

    ws = init(root)
    for number in range(sets):
        synthesise(load(root), f"room{number}", world="rooms", frames=12, seed=number, size=(48, 64))
    assert hub(ws).store
    return root


def torment(root: Path, *, slow: bool, examples: int, steps: int) -> None:
    """Run the machine upon copies of a blank workspace. Raises what a broken rule raises, with the shortest way to it."""
    _Rules.blank, _Rules.slow = root, slow
    options = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=not slow,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet if not slow else Verbosity.normal,
    )
    run_state_machine_as_test(_Rules, settings=options)


def main() -> None:
    """Run it and say how long it took; a broken rule ends it with its traceback."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=40)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--smoke", action="store_true", help="one short example, to see that it runs")
    options = parser.parse_args()
    examples, steps = (1, 5) if options.smoke else (options.examples, options.steps)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        torment(blank(Path(folder) / "blank", sets=3), slow=True, examples=examples, steps=steps)
    print(f"{examples} examples of up to {steps} steps, every rule held, in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
