"""Keeps what a running `add` has found so far, for the page that watches it: in Valkey, for ten minutes."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import orjson
import redis
import structlog

from exchanges.connectivity import Finding
from lib import valkey

log = structlog.get_logger(__name__)

KEPT_SECONDS = 600
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of one `add` or probe; `message` says why it failed, `page` is what a probe found."""

    exchange_id: str
    state: str = WAITING
    message: str = ""
    findings: tuple[Finding, ...] = ()
    is_probe: bool = False
    page: str = ""

    @property
    def is_over(self) -> bool:
        return self.state in (DONE, FAILED)


def begin(exchange_id: str, *, is_probe: bool = False) -> str:
    """Begins a progress and returns the key to watch it by. Raises RedisError."""
    key = secrets.token_urlsafe(16)
    _store(key, Progress(exchange_id, is_probe=is_probe))
    return key


def note(key: str, exchange_id: str, state: str, *, findings: Iterable[Finding] = (), message: str = "") -> None:
    """Stores the progress; without a key nobody watches. The work does not fail because nobody can be told of it."""
    _note(key, Progress(exchange_id, state, message, tuple(findings)))


def note_probe(key: str, exchange_id: str, state: str, *, page: str = "", message: str = "") -> None:
    """Stores how far a probe is; `page` is its report."""
    _note(key, Progress(exchange_id, state, message, is_probe=True, page=page))


def _note(key: str, progress: Progress) -> None:
    if not key:
        return
    try:
        _store(key, progress)
    except redis.RedisError as error:
        log.warning("progress_not_stored", exchange=progress.exchange_id, error=str(error))


def find(key: str) -> Progress | None:
    """Returns the progress; None when it is unknown or too old. Raises RedisError."""
    raw = valkey.client().get(_name(key))
    if raw is None:
        return None
    stored = orjson.loads(raw)
    return Progress(**{**stored, "findings": tuple(Finding(**finding) for finding in stored["findings"])})


def _store(key: str, progress: Progress) -> None:
    valkey.client().set(_name(key), orjson.dumps(asdict(progress)), ex=KEPT_SECONDS)


def _name(key: str) -> str:
    return f"marketmon:adding:{key}"
