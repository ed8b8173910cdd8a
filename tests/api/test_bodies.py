"""Callers who send slowly keep nobody else waiting."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from web.request_bodies import READERS, LimitedBodies


class SlowBody(io.BytesIO):
    """What a web server gives to read from: it waits until the caller has sent."""

    def __init__(self) -> None:
        super().__init__(b"{}")
        self.is_read = threading.Event()
        self.is_sent = threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        self.is_read.set()
        assert self.is_sent.wait(20)
        return super().read(size)


def post(body: Any) -> WSGIRequest:
    environ = RequestFactory()._base_environ(REQUEST_METHOD="POST", CONTENT_LENGTH="2")
    return WSGIRequest({**environ, "wsgi.input": body})


def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"a=" + b"%" * 900_000, 400), (b"a=" + b"%41" * 300_000, 200), (b"a=" + b"%zz" * 300_000, 200), (b"%" * 99, 200)],
)
def test_percents_that_escape_nothing_are_not_read(body: bytes, status: int) -> None:
    """A megabyte of them took a second of computing, and no login."""
    request = RequestFactory().post("/admin/login/", body, content_type="application/x-www-form-urlencoded")

    assert LimitedBodies(lambda request: HttpResponse(str(len(request.POST))))(request).status_code == status


@pytest.fixture
def slow_callers() -> Iterator[list[SlowBody]]:
    bodies = [SlowBody() for _ in range(READERS)]
    yield bodies
    for body in bodies:
        body.is_sent.set()


def test_slow_callers_leave_room_for_those_who_only_ask(slow_callers: list[SlowBody]) -> None:
    door = LimitedBodies(echo)
    with ThreadPoolExecutor(READERS) as threads:
        waiting = [threads.submit(door, post(body)) for body in slow_callers]
        assert all(body.is_read.wait(20) for body in slow_callers)

        refused = door(post(SlowBody()))
        asked = door(RequestFactory().get("/health"))

        for body in slow_callers:
            body.is_sent.set()
        answered = [each.result(20) for each in waiting]
    assert (refused.status_code, refused["Retry-After"], asked.status_code) == (503, "2", 200)
    assert [each.content for each in answered] == [b"{}"] * READERS  # type: ignore[attr-defined]


def test_a_place_is_free_again_once_a_body_is_there() -> None:
    door = LimitedBodies(echo)
    request = RequestFactory()

    answers = [door(request.post("/", b"{}", "application/json")) for _ in range(READERS + 1)]

    assert [answer.content for answer in answers] == [b"{}"] * (READERS + 1)  # type: ignore[attr-defined]


def test_a_caller_who_leaves_halfway_is_no_failure_of_ours() -> None:
    class Gone(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("connection closed")

    door = LimitedBodies(echo)

    answers = [door(post(Gone())).status_code for _ in range(READERS + 1)]

    assert answers == [400] * (READERS + 1)
