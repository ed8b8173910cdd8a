"""The file of a recording: what an exchange was asked and what it answered, one JSON object a line, gzipped.

The first line is the header: `{"format": 1, "exchange": …, "recorded_at": …}`. All others are events, in order, with
`at`, the seconds since the recording began:

    {"at": 0.3, "kind": "answer", "method": "GET", "url": "https://H/P?Q", "sent": "", "status": 200,
     "headers": {"Date": …}, "body": …}
    {"at": 0.9, "kind": "opened", "connection": 1, "url": "wss://H/P"}
    {"at": 0.9, "kind": "sent", "connection": 1, "text": …}
    {"at": 1.1, "kind": "got", "connection": 1, "text": …}      (or "base64" for a binary frame)
    {"at": 9.0, "kind": "closed", "connection": 1}

Keys, signatures, cookies and network addresses are removed before a line is written. `sandbox/replay.py` plays it.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from feeds import errors

FORMAT = 1
MOST_BYTES = 200 * 1024 * 1024  # before compression; what comes later is left out, and said
KEPT_HEADERS = frozenset({"content-type", "date", "age", "retry-after", "cache-control", "location", "allow"})
HIDDEN = "***"
HIDDEN_ADDRESS = "192.0.2.1"  # of the range that is kept for documentation

# In bodies and frames a "token" may be a coin: only a long one is hidden.
_NAMED = re.compile(
    r"""("(?:api[-_]?key|access[-_]?key|secret|signature|passphrase|password|listen[-_]?key)"\s*+:\s*+")[^"]++"""
    r"""|("token"\s*+:\s*+")[^"]{40,}+""",
    re.IGNORECASE,
)
_PARTS = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
_ADDRESS = re.compile(rf"(?<![0-9.]){_PARTS}(?![0-9.])")
_LONG_ADDRESS = re.compile(r"(?<![0-9a-f:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![0-9a-f:])", re.IGNORECASE)


class Recording:
    """A recording that is being written. A file that stands there already is replaced."""

    def __init__(self, path: Path, exchange: str, *, secrets: tuple[str, ...] = (), now: float) -> None:
        self.answers = self.frames = self.left_out = 0
        self._secrets = secrets
        self._began = time.monotonic()
        self._bytes = 0
        self._file = gzip.open(path, "wt", encoding="utf-8")  # noqa: SIM115  (closed by __exit__)
        self._write({"format": FORMAT, "exchange": exchange, "recorded_at": round(now, 3)})

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def answer(self, method: str, url: str, sent: str, *, status: int, headers: Mapping[str, str], body: str) -> None:
        """Writes down one request and its answer."""
        self.answers += 1
        kept = {name: self.cleaned(value) for name, value in headers.items() if is_kept(name)}
        self._event(
            "answer", method=method, url=self._cleaned_url(url), sent=self.cleaned(sent), status=status, headers=kept,
            body=self.cleaned(body),
        )  # fmt: skip

    def opened(self, connection: int, url: str) -> None:
        self._event("opened", connection=connection, url=self._cleaned_url(url))

    def frame(self, kind: str, connection: int, data: str | bytes) -> None:
        """Writes down a frame that was `sent` or `got`."""
        self.frames += 1
        if isinstance(data, bytes):
            self._event(kind, connection=connection, base64=base64.b64encode(data).decode())
        else:
            self._event(kind, connection=connection, text=self.cleaned(data))

    def closed(self, connection: int) -> None:
        self._event("closed", connection=connection)

    def cleaned(self, text: str) -> str:
        """Returns a body, frame or header without keys, signatures and network addresses."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN) if len(secret) >= errors.SHORTEST_SECRET else text
        return without_addresses(without_keys(text))

    def _cleaned_url(self, url: str) -> str:
        return errors.redact(url, self._secrets)

    def _event(self, kind: str, **facts: Any) -> None:
        if self._bytes > MOST_BYTES:
            self.left_out += 1
            return
        self._write({"at": round(time.monotonic() - self._began, 4), "kind": kind, **facts})

    def _write(self, line: Mapping[str, Any]) -> None:
        text = json.dumps(line, separators=(",", ":")) + "\n"
        self._bytes += len(text)
        self._file.write(text)


def is_kept(header: str) -> bool:
    """Says whether a header belongs into a recording: those that tell times, kinds and rate limits."""
    name = header.lower()
    return name in KEPT_HEADERS or "ratelimit" in name or "used-weight" in name


def without_keys(text: str) -> str:
    """Returns the text with the values hidden that stand where a key usually does."""
    return _NAMED.sub(lambda found: f"{found[1] or found[2]}{HIDDEN}", text)


def without_addresses(text: str) -> str:
    """Returns the text with each network address replaced, such as ours in a firewall's page."""
    return _LONG_ADDRESS.sub(HIDDEN_ADDRESS, _ADDRESS.sub(HIDDEN_ADDRESS, text))
