"""One family of errors, so that the command line has one funnel: one line, one hint, one exit code."""

from __future__ import annotations

from collections.abc import Sequence

from core.secret import hide


class VortexError(Exception):
    """Something the user can act on.

    `message` names the thing, what was found and what is allowed, in one line; `hint` says what to do next;
    `details` lists further faults of the same kind, so that a file is mended once and not fault by fault.
    None of them keeps a secret, not even one that a library's message quoted: errors are shown, stored and sent.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "", details: Sequence[str] = ()) -> None:
        self.message = hide(message)
        self.hint = hide(hint)
        self.details = tuple(map(hide, details))
        super().__init__(self.message)

    def __reduce__(self) -> tuple[object, ...]:
        # Ray and multiprocessing carry errors between processes by pickling; the default would drop hint and details.
        return (type(self), (self.message, self.hint, self.details))


class UsageError(VortexError):
    """The command's words are off: a flag that does not fit another, a name that is not a name."""

    exit_code = 2


class GateRefused(VortexError):
    """A gate looked and said no: data that fails validation, a promotion whose evidence falls short."""

    exit_code = 3


class Interrupted(VortexError):
    """Ctrl-C (or a signal) ended the work cleanly; the hint is the command that resumes it."""

    exit_code = 130
