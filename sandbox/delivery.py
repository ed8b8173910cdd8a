"""Delivers an answer to the client, or does not: the faults that are not about the data."""

from __future__ import annotations

import asyncio
import base64
import math
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any

import orjson
from aiohttp import web

from sandbox.faults import Fault

JSON = "application/json"
DRIP_SECONDS = 0.1


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": JSON})


def encode(status: int, content: Any) -> Answer:
    """Encodes texts as plain text, everything else as JSON."""
    if isinstance(content, str):
        return Answer(status, content.encode(), {"Content-Type": "text/plain; charset=utf-8"})
    return Answer(status, orjson.dumps(content))


class Vanished(Exception):
    """A connection that was cut; there is nobody to answer."""


async def obstruct(request: web.BaseRequest, faults: Sequence[Fault]) -> None:
    """Carries out what goes wrong before there is an answer. Raises Vanished."""
    for fault in faults:
        if fault.kind == "delay":
            await asyncio.sleep(fault.params["seconds"])
        elif fault.kind == "hang":
            await asyncio.Event().wait()
        elif fault.kind == "reset":
            cut(request)
            raise Vanished


def instead(faults: Sequence[Fault], error: Callable[[int], Any], raw_target: str) -> Answer | None:
    """Returns the answer of the first fault that replaces it; None when none does."""
    for fault in faults:
        if make := REPLACEMENTS.get(fault.kind):
            return make(fault.params, error, raw_target)
    return None


async def deliver(request: web.BaseRequest, answer: Answer, faults: Sequence[Fault]) -> web.StreamResponse:
    """Delivers the answer. Damages add up; only the last fault that writes the connection itself is carried out."""
    send: Callable[[web.BaseRequest, Answer, Mapping[str, Any]], Any] | None = None
    params: Mapping[str, Any] = {}
    for fault in faults:
        if damage := DAMAGES.get(fault.kind):
            answer = damage(answer, fault.params)
        elif fault.kind in SENDERS:
            send, params = SENDERS[fault.kind], fault.params
    if send is None:
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
    response: web.StreamResponse = await send(request, answer, params)
    return response


def _status(params: Mapping[str, Any], error: Callable[[int], Any], _: str) -> Answer:
    body = params["body"]
    answer = encode(int(params["code"]), error(int(params["code"])) if body is None else body)
    headers = dict(answer.headers) | params["headers"]
    wait = params["retry_after"]
    if wait is not None and params["retry_after_date"]:
        headers["Retry-After"] = formatdate(math.ceil(time.time() + wait), usegmt=True)
    elif wait is not None:
        headers["Retry-After"] = str(wait)
    return replace(answer, headers=headers)


def _html(params: Mapping[str, Any], _: Callable[[int], Any], __: str) -> Answer:
    return Answer(int(params["status"]), params["body"].encode(), {"Content-Type": "text/html; charset=utf-8"})


def _empty(params: Mapping[str, Any], _: Callable[[int], Any], __: str) -> Answer:
    return Answer(int(params["status"]), b"")


def _null(params: Mapping[str, Any], _: Callable[[int], Any], __: str) -> Answer:
    return Answer(int(params["status"]), b"null")


def _json(params: Mapping[str, Any], _: Callable[[int], Any], __: str) -> Answer:
    return Answer(int(params["status"]), params["body"].encode())


def _body(params: Mapping[str, Any], _: Callable[[int], Any], __: str) -> Answer:
    """Answers with any bytes at all; a lone surrogate in the text stands for a raw byte."""
    given = params["body_base64"]
    body = params["body"].encode("utf-8", "surrogateescape") if given is None else base64.b64decode(given)
    return Answer(int(params["status"]), body, {"Content-Type": JSON} | params["headers"])


def _redirect(params: Mapping[str, Any], _: Callable[[int], Any], raw_target: str) -> Answer:
    """Redirects; without a location: in a circle."""
    return Answer(int(params["status"]), b"", {"Location": params["location"] or raw_target})


def _truncated(answer: Answer, params: Mapping[str, Any]) -> Answer:
    return replace(answer, body=answer.body[: int(len(answer.body) * params["keep"])])


def _bad_gzip(answer: Answer, _: Mapping[str, Any]) -> Answer:
    body = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + b"this is not deflate" * 8
    return replace(answer, body=body, headers={**answer.headers, "Content-Encoding": "gzip"})


def _padding(answer: Answer, params: Mapping[str, Any]) -> Answer:
    return replace(answer, body=answer.body + b" " * int(params["bytes"]))


async def _short(request: web.BaseRequest, answer: Answer, params: Mapping[str, Any]) -> web.StreamResponse:
    """Promises more than it sends, then closes."""
    response = await _begin(request, answer, length=len(answer.body) + int(params["missing_bytes"]))
    await response.write(answer.body)
    if request.transport is not None:
        request.transport.close()
    raise Vanished


async def _drip(request: web.BaseRequest, answer: Answer, params: Mapping[str, Any]) -> web.StreamResponse:
    response = await _begin(request, answer, length=len(answer.body))
    share = max(1, int(params["bytes_per_second"] * DRIP_SECONDS))
    pause = share / max(params["bytes_per_second"], 0.001)
    for start in range(0, len(answer.body), share):
        await response.write(answer.body[start : start + share])
        await asyncio.sleep(pause)
    return response


async def _begin(request: web.BaseRequest, answer: Answer, *, length: int) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = length
    await response.prepare(request)
    return response


def cut(request: web.BaseRequest) -> None:
    """Resets the connection, without a word."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


REPLACEMENTS: Mapping[str, Callable[[Mapping[str, Any], Callable[[int], Any], str], Answer]] = {
    "status": _status,
    "html": _html,
    "empty": _empty,
    "null": _null,
    "json": _json,
    "body": _body,
    "redirect": _redirect,
}
DAMAGES: Mapping[str, Callable[[Answer, Mapping[str, Any]], Answer]] = {
    "truncated": _truncated,
    "bad_gzip": _bad_gzip,
    "padding": _padding,
}
SENDERS: Mapping[str, Callable[[web.BaseRequest, Answer, Mapping[str, Any]], Any]] = {
    "short_content_length": _short,
    "drip": _drip,
}
