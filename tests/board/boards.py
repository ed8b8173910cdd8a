"""A process that remembers nothing of other tests' boards, and the browser's side of `/board/live`."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.test import Client

from board import fragments, live
from incidents.signs import activity
from lib import clock, processes, valkey


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    valkey.client().delete(live.KEY)
    forget(monkeypatch)
    yield
    valkey.client().delete(live.KEY)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after the start of a process."""
    monkeypatch.setattr(activity, "_memory", activity._Memory())
    monkeypatch.setattr(fragments, "_memory", {})
    live.forget()


def hear(monkeypatch: pytest.MonkeyPatch, name: str = "worker:here:1", state: clock.ClockState | None = None) -> None:
    """A process says that it lives, and how its clock is."""
    with monkeypatch.context() as patch:
        patch.setattr(processes, "_mine", name)
        if state is not None:
            patch.setattr(clock, "state", lambda: state)
        processes.say()


def look_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the tenth of a second had passed that a web process waits between two looks."""
    monkeypatch.setattr(live.COPY, "ask_every_seconds", 0.0)
    monkeypatch.setattr(live.OWN, "good_for_seconds", 0.0)


@dataclass(slots=True)
class Browser:
    """What one tab shows: the order of the parts, and each with its hash."""

    client: Client
    order: str = ""
    parts: dict[str, list[str]] = field(default_factory=dict)

    def ask(self) -> dict[str, Any] | None:
        """Takes over what has changed, and gives it; None when nothing has."""
        have = "".join(digest for digest, _ in self.parts.values())
        response = self.client.get("/board/live", {"order": self.order, "have": have})
        if response.status_code == 304:
            assert response.content == b""
            return None
        assert response.status_code == 200, response.content
        assert response.headers["Content-Encoding"] == "gzip"
        body = _unpacked(response.content)
        self.order = body["order"]
        self.parts.update(body["changed"])
        if "names" in body:
            self.parts = {name: self.parts[name] for name in body["names"]}
        return body

    def shows(self, name: str) -> str:
        return self.parts[name][1]


def _unpacked(content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(content))
    return found
