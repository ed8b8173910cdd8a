"""A body that comes in chunks has no length; Django alone reads none of it, and a caller's fields were lost."""

from __future__ import annotations

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse
from django.test import RequestFactory
from rest_framework.test import APIRequestFactory

from marketmon.wsgi import application
from metrics.models import Collection
from web.request_bodies import READERS, LimitedBodies


class Trickle(io.BytesIO):
    """Gives some bytes at a time, as a network does."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(7 if size is None or size < 0 else min(size, 7))


def send(path: str, stream: io.BytesIO, **more: str) -> tuple[str, Any]:
    environ = APIRequestFactory().post(path, content_type="application/json").environ | {
        "wsgi.input": stream,
        "wsgi.input_terminated": True,
        "HTTP_TRANSFER_ENCODING": "chunked",
        **more,
    }
    environ.pop("CONTENT_LENGTH", None)
    seen: list[str] = []
    response = application(environ, lambda status, headers, *_: seen.append(status))
    return seen[0][:3], json.loads(b"".join(response))


@pytest.mark.django_db(transaction=True)
def test_a_chunked_body_is_read() -> None:
    status, body = send("/metrics/collect", Trickle(b'{"source": "chunked", "collection_id": "c1"}'))

    assert (status, body["trigger_source"], body["collection_id"]) == ("200", "chunked", "c1")
    assert Collection.objects.get().trigger_source == "chunked"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("path", "expected"), [("/metrics/collect", "422"), ("/api/v1/exchanges/blacklist/kraken", "413")]
)
def test_a_chunked_body_without_end_is_read_no_further_than_the_limit(path: str, expected: str) -> None:
    stream = io.BytesIO(b"x" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE * 2))

    status, _ = send(path, stream, HTTP_X_ADMIN_KEY=settings.ADMIN_API_KEY)

    assert status == expected
    assert stream.tell() <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1


def test_slow_chunks_hold_a_place_like_every_body() -> None:
    """They must not come past the door that lets few slow senders in."""

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            is_read.release()
            assert is_sent.wait(20)
            return super().read(size)

    is_read, is_sent = threading.Semaphore(0), threading.Event()
    door = LimitedBodies(lambda request: HttpResponse(request.body))
    environ = RequestFactory()._base_environ(REQUEST_METHOD="POST", HTTP_TRANSFER_ENCODING="chunked")
    environ.pop("CONTENT_LENGTH", None)
    with ThreadPoolExecutor(READERS) as threads:
        waiting = [threads.submit(door, WSGIRequest({**environ, "wsgi.input": Slow(b"{}")})) for _ in range(READERS)]
        assert all(is_read.acquire(timeout=20) for _ in range(READERS))

        refused = door(WSGIRequest({**environ, "wsgi.input": Slow(b"{}")}))

        is_sent.set()
        answered = [each.result(20) for each in waiting]
    assert refused.status_code == 503
    assert [each.content for each in answered] == [b"{}"] * READERS  # type: ignore[attr-defined]
