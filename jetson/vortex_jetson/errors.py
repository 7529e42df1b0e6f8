"""Errors for people: one line that names the thing, what was found and what is allowed, and a hint that says what to do."""

from __future__ import annotations


class RobotError(Exception):
    """Something that a person, or the next attempt, can act on. Each kind says by its class what was wrong."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = plain(message)
        self.hint = plain(hint)
        super().__init__(self.message)


class UsageError(RobotError):
    """The command's words or the device's settings are off."""

    exit_code = 2


class BadDocument(RobotError):
    """A channel, a manifest or a report that is not of its format."""


class BadBundle(RobotError):
    """A folder that is not the bundle that its manifest describes."""


class Untrusted(RobotError):
    """Metadata or bytes that were refused: whoever serves them cannot show that the workspace published them."""


class Stale(RobotError):
    """Metadata that was true once and has expired; what runs is kept."""


class WrongClock(RobotError):
    """The clock of this device stands before what it has already seen, so that nothing can be said about expiry."""


class TransferFailed(RobotError):
    """Bytes did not arrive. `final` says that asking again is of no use."""

    def __init__(self, message: str, hint: str = "", final: bool = False) -> None:
        super().__init__(message, hint)
        self.final = final


class DiskFull(RobotError):
    """No space is left; nothing that runs was touched."""


class MemoryShort(RobotError):
    """Less memory is free than the work needs; nothing that runs was touched."""


class LibraryMissing(RobotError):
    """The library that runs models cannot be loaded on this device, or does not serve its GPU: no fault of a bundle."""


class EngineFailed(RobotError):
    """A model that cannot be loaded or built, or that does not answer as it says."""


class HealthFailed(RobotError):
    """A bundle that does not do its task on its own frames."""

    exit_code = 3


class Interrupted(RobotError):
    """Ctrl-C, or the signal of a service manager; the same command goes on from there."""

    exit_code = 130


def plain(text: str, longest: int = 1000) -> str:
    """`text` in one line of at most `longest` characters that commands no terminal: what a server or a file says may be quoted in it."""
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:longest])
    return shown if len(text) <= longest else f"{shown[:-1]}…"
