"""Declarations of a venue file, and the question that its renderers are asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sandbox.market import Market
from sandbox.streams.base import StreamDialect
from sandbox.view import View

LIST = "*list*"  # among an Ask's values: the JSON body where that is a list


class Refused(Exception):
    """A refusal: the venue answers with its own error instead."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@dataclass(frozen=True)
class Ask:
    """One request's parameters: the query's, the JSON body's, and the path's named parts.

    `query` and `headers` are as they came, for venues that check signatures.
    """

    values: Mapping[str, Any]
    named: Mapping[str, str]
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        """Returns a value as text: the last of a name that was given several times."""
        value = self.named.get(name, self.values.get(name, default))
        return str(value[-1] if isinstance(value, list) else value)

    def texts(self, name: str) -> list[str]:
        value = self.values.get(name, [])
        return [str(one) for one in value] if isinstance(value, list) else [str(value)]

    def whole(self, name: str, default: int) -> int:
        """Returns a whole number; what is not one counts as not given."""
        text = self.text(name, str(default))
        return int(text) if text.lstrip("-").isdigit() else default


Renderer = Callable[[View, Ask], Any]


@dataclass(frozen=True)
class Venue:
    """A simulated exchange. `routes`: a path, with `{name}` for a part that varies, to what renders its answer.

    `id_of` names a market as the venue does. `error` is the venue's body for an HTTP status: JSON, or plain text.
    `streams` are what it says over websockets, by host; a venue without one is polled.
    """

    id: str
    hosts: tuple[str, ...]
    size: int
    symbols: Callable[[], Iterator[str]]
    id_of: Callable[[Market], str]
    routes: Mapping[str, Renderer]
    error: Callable[[int], Any]
    streams: Mapping[str, StreamDialect] = field(default_factory=dict)

    def find_route(self, path: str) -> tuple[Renderer, dict[str, str]] | None:
        if path in self.routes:
            return self.routes[path], {}
        for pattern, renderer in self._patterns:
            if found := pattern.fullmatch(path):
                return renderer, found.groupdict()
        return None

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], Renderer]]:
        named = {path: re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path) for path in self.routes if "{" in path}
        return [(re.compile(pattern), self.routes[path]) for path, pattern in named.items()]
