"""A bounded log of the requests that we were asked, and how many were under way at once."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

LONGEST = 100_000


@dataclass(slots=True)
class Entry:
    """A request: `at` is when it arrived, in Unix seconds. `status` is None until, and unless, it was answered.

    A websocket connection's method is OPEN, its status 101 and then how it closed at `ended_at`; what the client said
    on it is SEND, with the message as the query.
    """

    at: float
    exchange: str
    method: str
    host: str
    path: str
    query: str
    second: int
    status: int | None = None
    fault: str | None = None
    ended_at: float | None = None

    def render(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in Entry.__slots__}


class Journal:
    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=LONGEST)
        self._under_way: Counter[str] = Counter()
        self._peaks: Counter[str] = Counter()

    def begin(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._under_way[entry.exchange] += 1
        self._peaks[entry.exchange] = max(self._peaks[entry.exchange], self._under_way[entry.exchange])

    def note(self, entry: Entry) -> None:
        """Logs what is no request with an answer, and so is under way no time at all."""
        self._entries.append(entry)

    def end(self, entry: Entry) -> None:
        self._under_way[entry.exchange] -= 1

    def find(self, *, exchange: str | None, since: float, path: str, limit: int) -> list[Entry]:
        """Returns the newest `limit` entries that match, oldest first."""
        found: list[Entry] = []
        for entry in reversed(self._entries):
            if entry.at < since or len(found) >= limit:
                break
            if exchange in (None, entry.exchange) and path in f"{entry.host}{entry.path}?{entry.query}":
                found.append(entry)
        return found[::-1]

    def peaks(self) -> dict[str, int]:
        return dict(self._peaks)

    def clear(self) -> None:
        self._entries.clear()
        self._peaks = Counter({exchange: number for exchange, number in self._under_way.items() if number})
