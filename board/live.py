"""The live board: rendered once a second by the pulse into Valkey, handed out by the web, which renders for itself when
the pulse has been silent for three seconds or Valkey is away.

A browser names the hashes of the parts that it shows and is sent only the others.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

import orjson
from django.conf import settings

from board import fragments, tiles
from board.fragments import HASH_CHARACTERS, Fragment
from collectors.status import published
from incidents.signs.reading import AllSigns
from lib import clock, valkey
from lib.published import PublishedCopy, SharedRendering

KEY = "board:live"
EXPIRES_SECONDS = 10
SILENCE_SECONDS = 3.0  # of the pulse
OWN_SECONDS = 1.0  # as often as the pulse would
REMEMBERED_ANSWERS = 64  # boards that poll in step have the same hashes


@dataclass(frozen=True, slots=True)
class Picture:
    """All parts at `taken_at`; `order` is the hash of their names, in order, and `etag` of everything."""

    taken_at: datetime
    parts: Mapping[str, Fragment]
    order: str
    etag: str

    def is_good(self, now: datetime) -> bool:
        return -clock.FUTURE_SECONDS < (now - self.taken_at).total_seconds() < SILENCE_SECONDS


def picture_of(parts: Mapping[str, Fragment], taken_at: datetime) -> Picture:
    hashes = "".join(part.hash for part in parts.values())
    names = "\n".join(parts)
    return Picture(taken_at, parts, fragments.hash_of("order", names), fragments.hash_of("etag", names + hashes))


def draw(now: datetime, signs: AllSigns | None = None) -> Picture:
    """Renders the signs, which are read where none are given. Raises DatabaseError, InterfaceError."""
    board = tiles.read(now) if signs is None else tiles.compose(signs)
    return picture_of(fragments.render(board), now)


# --- the pulse's side -------------------------------------------------------------------------------------------


def publish(now: datetime, signs: AllSigns | None = None) -> None:
    """Renders the board into Valkey. Raises redis.RedisError, DatabaseError, InterfaceError."""
    picture = draw(now, signs)
    fields: dict[str, str | bytes | float] = {
        "taken_at": now.timestamp(),
        "etag": picture.etag,
        "hashes": orjson.dumps([[name, part.hash] for name, part in picture.parts.items()]),
        **{f"part:{name}": part.html for name, part in picture.parts.items()},
    }
    with valkey.client().pipeline(transaction=True) as together:
        together.delete(KEY)
        together.hset(KEY, mapping=cast("dict[Any, Any]", fields))
        together.expire(KEY, EXPIRES_SECONDS)
        together.execute()


# --- the web's side ---------------------------------------------------------------------------------------------


def current() -> Picture:
    """Returns the newest picture. Raises DatabaseError, InterfaceError when it must render for itself and cannot."""
    now = clock.now()
    if settings.STATUS_BODY_MAX_AGE_SECONDS <= 0:
        return picture_of(fragments.render_anew(tiles.read(now)), now)
    copy = COPY.newest()
    return copy if copy is not None and copy.is_good(now) else OWN.get()


def fetch(held: Picture | None) -> Picture | None:
    """Returns the published picture, of which only what differs from `held` is fetched; None without one.

    Parts that are replaced meanwhile come with the next look. Raises redis.RedisError.
    """
    taken_at, etag, hashes = _fields("taken_at", "etag", "hashes")
    if taken_at is None or etag is None or hashes is None:
        return None
    moment = datetime.fromtimestamp(float(taken_at), UTC)
    if held is not None and held.etag == etag.decode():
        return replace(held, taken_at=moment)
    return _merged(held, orjson.loads(hashes), moment)


def _merged(held: Picture | None, hashes: list[tuple[str, str]], taken_at: datetime) -> Picture | None:
    known = dict(held.parts) if held is not None else {}
    wanted = [name for name, digest in hashes if name not in known or known[name].hash != digest]
    brought = _fields(*(f"part:{name}" for name in wanted)) if wanted else []
    if None in brought:
        return held
    new = {name: _found(name, html.decode()) for name, html in zip(wanted, cast("list[bytes]", brought), strict=True)}
    return picture_of({name: new.get(name) or known[name] for name, _ in hashes}, taken_at)


def _found(name: str, html: str) -> Fragment:
    """Returns the fragment under the hash of what really came, which may be newer than the hash that was asked for."""
    return Fragment(fragments.hash_of(name, html), html)


def _fields(*names: str) -> list[bytes | None]:
    return cast("list[bytes | None]", valkey.client().hmget(KEY, list(names)))


COPY: PublishedCopy[Picture] = PublishedCopy(fetch)
OWN: SharedRendering[Picture] = SharedRendering(lambda: draw(clock.now()), good_for_seconds=OWN_SECONDS)


def forget() -> None:
    """Makes this process as it was at its start: nothing held, no answer remembered, Valkey worth a question."""
    COPY.forget()
    OWN.forget()
    _answers.clear()


# --- the answer -------------------------------------------------------------------------------------------------

_answers: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()
_answers_lock = threading.Lock()


def answer(picture: Picture, *, order: str, have: str) -> bytes | None:
    """Returns what a browser with the parts of these hashes lacks, as gzipped JSON; None when it lacks nothing."""
    slot = (picture.etag, order, have)
    with _answers_lock:
        if slot in _answers:
            _answers.move_to_end(slot)
            return _answers[slot]
    body = _answer(picture, order, have)
    if body is None:
        return None
    with _answers_lock:
        _answers[slot] = body
        while len(_answers) > REMEMBERED_ANSWERS:
            _answers.popitem(last=False)
    return body


def _answer(picture: Picture, order: str, have: str) -> bytes | None:
    shown = {have[at : at + HASH_CHARACTERS] for at in range(0, len(have), HASH_CHARACTERS)}
    lacking = {name: [part.hash, part.html] for name, part in picture.parts.items() if part.hash not in shown}
    if not lacking and order == picture.order:
        return None
    body: dict[str, object] = {"order": picture.order, "changed": lacking}
    if order != picture.order:
        body["names"] = list(picture.parts)
    return published.compressed(orjson.dumps(body))
