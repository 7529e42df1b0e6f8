"""Two slots, of which one runs while the other takes the next bundle: a pure state machine, which is written down after each move.

    empty -> staged -> unproven -> committed      the bundle did its task: from now on it runs
                          |
                          +-----> empty           it did not: barred on this device, with the reason, and the other one runs on

What runs is always a committed slot. A bundle on trial gets its health checked beside it, so that the robot never acts on an unproven one.
Ends of the health process that are not its doing never count against a bundle: a reboot, or an agent that was ended itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Final, Literal, cast

from vortex_jetson.errors import plain
from vortex_jetson.formats.document import SHA256, VERSION, Fields, canonical, read

FORMAT: Final = 1
LARGEST: Final = 1_000_000
"""Bytes of the state; what may be barred, with reasons of the longest spelling, needs two thirds of them."""
MOST_BARRED: Final = 500
LONGEST_REASON: Final = 200
"""Characters of a reason, each of which JSON may spell with six."""
Name = Literal["a", "b"]
Phase = Literal["empty", "staged", "unproven", "committed"]
PHASES: Final = ("empty", "staged", "unproven", "committed")


@dataclass(frozen=True)
class Slot:
    """What lies in a slot, and how far it has come."""

    phase: Phase = "empty"
    version: str | None = None
    bundle: str | None = None
    """SHA-256 of the manifest."""


EMPTY: Final = Slot()


@dataclass(frozen=True)
class Slots:
    """Both slots, and what this device remembers of bundles. Moves give the next state, and raise ValueError where they are not allowed."""

    a: Slot = EMPTY
    b: Slot = EMPTY
    running: Name | None = None
    """The slot that the robot acts on; None before the first commit."""
    crashes: tuple[str, ...] = ()
    """Boot ids of the health runs in which the health process of the bundle on trial died."""
    barred: Mapping[str, str] = field(default_factory=dict)
    """Bundles that were rolled back here: their versions, and why."""

    def slot(self, name: Name) -> Slot:
        """One of the two."""
        return self.a if name == "a" else self.b

    @property
    def spare(self) -> Name:
        """The slot that does not run."""
        return "b" if self.running == "a" else "a"

    @property
    def current(self) -> Slot:
        """What runs; an empty slot where nothing does."""
        return EMPTY if self.running is None else self.slot(self.running)

    @property
    def trial(self) -> Slot | None:
        """What is on trial."""
        slot = self.slot(self.spare)
        return slot if slot.phase == "unproven" else None

    def crashes_of(self, boot: str) -> int:
        """Health runs that died in this boot. What died in an earlier one may have died of the reboot."""
        return self.crashes.count(boot)

    def clear(self) -> Slots:
        """The spare slot is to be written: it holds nothing that counts any more."""
        return replace(self._with(EMPTY), crashes=())

    def stage(self, version: str, bundle: str) -> Slots:
        """The spare slot, which was cleared, holds a whole and verified bundle."""
        self._ask(self.slot(self.spare).phase == "empty", "stage")
        self._ask(bundle not in self.barred, "stage what is barred")
        return self._with(Slot("staged", version, bundle))

    def try_out(self) -> Slots:
        """The spare slot goes on trial: what was staged, or what ran before."""
        slot = self.slot(self.spare)
        self._ask(slot.phase in ("staged", "committed") and slot.bundle not in self.barred, "try out")
        return replace(self._with(replace(slot, phase="unproven")), crashes=())

    def crash(self, boot: str) -> Slots:
        """The health process of the trial died in this boot."""
        self._ask(self.trial is not None, "crash")
        return replace(self, crashes=(*(earlier for earlier in self.crashes if earlier == boot), boot))

    def commit(self) -> Slots:
        """What is on trial has done its task, and runs."""
        slot = self.trial
        self._ask(slot is not None, "commit")
        return replace(self._with(replace(slot or EMPTY, phase="committed")), running=self.spare, crashes=())

    def reject(self, reason: str) -> Slots:
        """What is on trial has failed: it is barred here, and what runs goes on."""
        slot = self.trial
        self._ask(slot is not None, "reject")
        return self._bar(slot or EMPTY, reason).clear()

    def roll_back(self, reason: str) -> Slots:
        """What runs is barred here, and the other slot runs, which must have been committed."""
        self._ask(self.slot(self.spare).phase == "committed", "roll back")
        back = self._bar(self.current, reason)
        return replace(back, running=self.spare).clear()

    def refuse(self, version: str, bundle: str, reason: str) -> Slots:
        """A candidate that was to run beside what runs does not do its task: it is barred here, also where the spare slot has it from before."""
        self._ask(bundle != self.current.bundle, "refuse what runs")
        barred = self._bar(Slot("unproven", version, bundle), reason)
        return barred.clear() if self.slot(self.spare).bundle == bundle else barred

    def _with(self, slot: Slot) -> Slots:
        return replace(self, a=slot) if self.spare == "a" else replace(self, b=slot)

    def _bar(self, slot: Slot, reason: str) -> Slots:
        barred = {**self.barred, str(slot.bundle): plain(f"{slot.version}: {reason}", LONGEST_REASON)}
        return replace(self, barred=dict(list(barred.items())[-MOST_BARRED:]))

    def _ask(self, allowed: bool, move: str) -> None:
        if not allowed:
            raise ValueError(f"{move} is no move from a: {self.a.phase}, b: {self.b.phase}, running: {self.running}")


def dump(slots: Slots) -> bytes:
    """The state as it is written down."""
    return canonical({"format": FORMAT, **asdict(slots)})


def parse(content: bytes) -> Slots:
    """The state that was written down. Raises BadDocument."""
    fields = read(content, LARGEST, "state.json")
    fields.format(FORMAT)
    barred = fields.part("barred")
    slots = Slots(
        _slot(fields.part("a")),
        _slot(fields.part("b")),
        cast("Name | None", fields.optional("running", lambda name: fields.text(name, "[ab]"))),
        tuple(map(str, fields.items("crashes", 0, 100))),
        {bundle: barred.line(bundle) for bundle in barred.document},
    )
    fields.end()
    if slots.running is not None and slots.current.phase != "committed":
        fields.refuse("running", "a slot that is committed")
    return slots


def _slot(fields: Fields) -> Slot:
    slot = Slot(
        cast(Phase, fields.text("phase", "|".join(PHASES))),
        fields.optional("version", lambda name: fields.text(name, VERSION)),
        fields.optional("bundle", lambda name: fields.text(name, SHA256)),
    )
    fields.end()
    if (slot.phase == "empty") != (slot.bundle is None) or (slot.bundle is None) != (slot.version is None):
        fields.refuse("phase", "empty without a bundle, another one with it")
    return slot
