"""What reaches an application behind the gateway, told back as JSON; for a real server in a process of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings

from web.gateway import Gateway

if not settings.configured:
    settings.configure(
        DATA_UPLOAD_MAX_MEMORY_SIZE=1024 * 1024, SECRET_KEY="x", ADMIN_API_KEY="", METRICS_WEBHOOK_TOKEN=""
    )


class Stream:
    """An answer in parts, as Django's streaming ones are."""

    streaming = True

    def __iter__(self) -> Iterator[bytes]:
        for number in range(5):
            yield f"{number}\n".encode()

    def close(self) -> None:
        closed.append(1)


class Endless(Stream):
    """More than a reader takes, or what its path says: it breaks, or stops for a while."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(4000):
            yield b"x" * 65_535 + b"\n"
            if self._path == "/breaks":
                time.sleep(0.2)
                raise RuntimeError("no more")
            if self._path == "/pauses":
                time.sleep(0.5)


closed: list[int] = []


def echo(environ: dict[str, Any], start_response: Any) -> Any:
    if environ["PATH_INFO"] == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Stream()
    if environ["PATH_INFO"] in ("/breaks", "/pauses", "/large"):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Endless(environ["PATH_INFO"])
    if environ["PATH_INFO"] == "/sleep":
        time.sleep(1)
    body = environ["wsgi.input"].read()
    told = {name: value for name, value in environ.items() if isinstance(value, str | bool)}
    start_response("200 OK", [("Content-Type", "application/json"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    return [json.dumps({**told, "body": len(body), "closed": len(closed)}).encode()]


application = Gateway(echo)
