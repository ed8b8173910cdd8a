"""`python -m sandbox convert FILE… --exchange ID --to OUT`: makes a recording of raw data that cryptofeed has stored.

Its files hold a connection each, one message a line, plain or gzipped; times are Unix seconds:

    wss://HOST/PATH <-> 1652459224.53                 the connection
    wss://HOST/PATH <- 1652459225.29: {"op": …}       what the client said
    1652459225.31: {"arg": …}                         what came; binary frames as b'…'
    https://HOST/PATH -> 1652459224.10: {"code": …}   an answer
"""

from __future__ import annotations

import ast
import base64
import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.replay import FORMAT

OPENED, SAID, ANSWERED = " <-> ", " <- ", " -> "
BINARY = ("b'", 'b"')
SCHEMES = ("ws://", "wss://", "http://", "https://")


class NotRaw(Exception):
    """A file that is no raw data of cryptofeed."""


class RawEvent(NamedTuple):
    """One line: when, what kind of event of a recording it is, and its other fields."""

    at: float
    kind: str
    fields: dict[str, Any]


def convert(sources: Sequence[Path], exchange: str, target: Path) -> int:
    """Writes the recording and returns how many events it has. Raises NotRaw, and OSError for what cannot be read."""
    numbers = count(1)
    events = sorted((event for path in sources for event in _events(path, numbers)), key=lambda event: event.at)
    if not events:
        raise NotRaw(f"{', '.join(map(str, sources))}: nothing was recorded")
    began = events[0].at
    with gzip.open(target, "wt", encoding="utf-8") as out:
        out.write(_line({"format": FORMAT, "exchange": exchange, "recorded_at": round(began, 3)}))
        for event in events:
            out.write(_line({"at": round(event.at - began, 4), "kind": event.kind, **event.fields}))
    return len(events)


def _events(path: Path, numbers: Iterator[int]) -> Iterator[RawEvent]:
    """Yields the events of a file, which may hold several connections one after the other."""
    connection = 0
    for line in _lines(path):
        address, mark, rest = _split(line)
        if mark == OPENED:
            connection = next(numbers)
            yield RawEvent(_moment(path, rest), "opened", {"connection": connection, "url": address})
            continue
        moment, _, text = rest.partition(": ")
        at = _moment(path, moment)
        if mark == ANSWERED:
            answer = {"method": "GET", "url": address, "sent": "", "status": 200, "body": text}
            yield RawEvent(at, "answer", {**answer, "headers": {"Content-Type": "application/json"}})
        elif not connection:
            raise NotRaw(f"{path}: a frame before its connection: {line[:80]!r}")
        else:
            yield RawEvent(at, "sent" if mark == SAID else "got", {"connection": connection, **_content(text)})


def _split(line: str) -> tuple[str, str, str]:
    """Returns the address, the mark after it, and the rest; a frame that came has neither of the first two."""
    if line.startswith(SCHEMES):
        address, _, rest = line.partition(" ")
        mark, _, rest = rest.partition(" ")
        if f" {mark} " in (OPENED, SAID, ANSWERED):
            return address, f" {mark} ", rest
    return "", "", line


def _lines(path: Path) -> Iterable[str]:
    packed = path.read_bytes()
    try:
        text = (gzip.decompress(packed) if path.suffix == ".gz" else packed).decode()
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise NotRaw(f"{path} cannot be read: {error}") from error
    return filter(None, text.split("\n"))


def _content(text: str) -> dict[str, str]:
    if text[:2] not in BINARY:
        return {"text": text}
    try:
        data = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return {"text": text}
    return {"base64": base64.b64encode(data).decode()} if isinstance(data, bytes) else {"text": text}


def _moment(path: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise NotRaw(f"{path}: no time where one is expected: {text[:40]!r}") from error


def _line(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":")) + "\n"
