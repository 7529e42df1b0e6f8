"""Passwords, tokens and what else a URL may carry: used, and never shown, stored or logged.

Two ways, because messages are not all ours. A URL of the configuration is a `SecretUrl`, which cannot show more than where it leads. And
every text for a person or a file passes `hide`, for a driver's or a server's message may quote what it was given.
"""

from __future__ import annotations

import os
import re
from typing import Final
from urllib.parse import unquote

MASK: Final = "***"
LEAST: Final = 4
"""Letters of a remembered secret; a shorter one would be found in half of all words."""
COMMON: Final = frozenset({"vortex", "mlflow", "postgres", "password", "secret", "token", "none", "null", "true", "false", "test", "user"})
"""What is no secret even where it is used as one: hiding these words would make messages unreadable."""

_FILES: Final = ("sqlite", "file")
"""Schemes whose URL is a path of this machine, in which `?` and `@` are letters."""
_WORDS: Final = r"(?:[\w-]{0,40}(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|account[_-]?key|signature|credential)|pwd|sig|sas)"
_NAMES: Final = (
    "password", "passwd", "passphrase", "secret", "token", "key", "signature", "credential", "pwd", "sig=", "sas=", "authorization"
)  # fmt: skip
# Patterns as text: `re` compiles one when it is first used and keeps it, and most commands, `--help` among them, use none.
_URL: Final = r"(?i)\b([a-z][a-z0-9+.-]*)://([^\s\"'<>`|]+)"
_PAIR: Final = rf"(?i)\b({_WORDS})(\s*=\s*)('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^\s,;&)\"']+)"
_ITEM: Final = (
    r"(?i)(?<=['\"])((?:[\w-]{0,40}(?:password|passwd|passphrase|api_?key|access_?key|token)|secret))(['\"]\s*:\s*)(['\"])(?:(?!\3).)+\3"
)
_HEADER: Final = r"(?i)\b(authorization['\"]?\s*:\s*['\"]?(?:(?:bearer|basic|token)\s+)?)[^\s'\",]+"
_REQUEST: Final = r"(: /[^\s?]*)\?[\w.-]+=[^\s)]*"
"""How requests and urllib3 quote the path of what they could not fetch."""
_TOKEN: Final = r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|hf_\w{20,}|glpat-[\w-]{20,}|(?:AKIA|ASIA)[0-9A-Z]{16})\b"
"""What GitHub, Hugging Face, GitLab and AWS give out, by its own look."""
_TOKEN_STARTS: Final = ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "hf_", "glpat-", "AKIA", "ASIA")
_SECRET_NAMES: Final = (
    "PASSWORD", "PASSWD", "PASSPHRASE", "TOKEN", "SECRET", "API_KEY", "APIKEY", "ACCESS_KEY", "ACCESS_KEY_ID",
    "ACCOUNT_KEY", "CONNECTION_STRING"
)  # fmt: skip
"""Ends of the names of environment variables that hold a secret."""

_remembered: set[str] = set()


class SecretUrl:
    """A URL that may carry a password. As text it is where it leads, `scheme://host/path`; `reveal` is for the driver alone."""

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url
        user_info = url.partition("://")[2].rpartition("@")[0]
        if ":" in user_info and not _is_file(url.partition("://")[0]):
            remember(user_info.partition(":")[2])

    @classmethod
    def of(cls, url: SecretUrl | str) -> SecretUrl:
        """The URL itself, or the one that a text is."""
        return url if isinstance(url, SecretUrl) else cls(url)

    def reveal(self) -> str:
        """All of it."""
        return self._url

    def __str__(self) -> str:
        scheme, separator, rest = self._url.partition("://")
        return _shown_url(scheme, rest) if separator else f"{self._url[:20]}…"

    def __repr__(self) -> str:
        return f"SecretUrl({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretUrl) and other._url == self._url

    def __hash__(self) -> int:
        return hash(self._url)


def remember(secret: str) -> None:
    """Hide this text from now on wherever it stands: as it is written, as it is meant (`%40` for `@`), and as JSON spells it."""
    spelt = {secret, unquote(secret)}
    for value in spelt | {text.replace("\\", "\\\\").replace('"', '\\"') for text in spelt}:
        if len(value) >= LEAST and value.lower() not in COMMON:
            _remembered.add(value)


def remember_environment() -> None:
    """Remember what environment variables hold that are named as secrets are: AWS_SECRET_ACCESS_KEY, PGPASSWORD, HF_TOKEN."""
    for name, value in os.environ.items():
        if name.upper().endswith(_SECRET_NAMES):
            remember(value)


def hide(text: str) -> str:
    """`text` without the secrets in it: user and query of every URL, values that are named as secrets are, and what is remembered."""
    # Looking for plain words first takes a tenth of the time on a long document without any.
    if "://" in text:
        text = re.sub(_URL, lambda match: _shown_url(match[1], match[2]), text)
    if ": /" in text:
        text = re.sub(_REQUEST, r"\1?…", text)
    low = text.lower()
    if any(word in low for word in _NAMES):
        text = re.sub(_PAIR, rf"\1\2{MASK}", text)
        text = re.sub(_ITEM, rf"\1\2\3{MASK}\3", text)
        text = re.sub(_HEADER, rf"\1{MASK}", text)
    if any(start in text for start in _TOKEN_STARTS):
        text = re.sub(_TOKEN, MASK, text)
    for secret in sorted(_remembered, key=len, reverse=True):
        if secret in text:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    return text


def _shown_url(scheme: str, rest: str) -> str:
    """Where a URL leads. Of one whose parts cannot be told apart (a password with `@`, `/` or `?` in it) no more than its scheme."""
    if _is_file(scheme):
        return f"{scheme}://{rest}"
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    authority = place.partition("/")[0]
    if rest.count("@") > 1 or ("@" in rest and "@" not in authority):
        return f"{scheme}://…"
    tail = rest[len(place) :]
    hides_query = "?" in tail or "=" in tail
    end = re.search(r"[)\].,;:]*$", tail)  # the sentence's, not the URL's
    shown_tail = f"?…{end[0] if end else ''}" if hides_query else tail
    user, at, _ = authority.rpartition("@")
    # A user alone is a name, but before a web server's it is often a token.
    if at and (":" in user or scheme.lower().startswith("http")):
        place = f"…@{place.rpartition('@')[2]}"
    return f"{scheme}://{place}{shown_tail}"


def _is_file(scheme: str) -> bool:
    return scheme.lower().partition("+")[0] in _FILES
