"""The register of live processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib import processes, valkey


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(processes, "_mine", "worker:here:1")
    valkey.client().delete(processes.KEY)
    yield
    valkey.client().delete(processes.KEY)


def test_who_has_just_spoken_lives() -> None:
    processes.say()

    (found,) = processes.live()
    assert (found.name, found.kind, found.host) == ("worker:here:1", "worker", "here")
    assert processes.count([found], "worker") == 1
    assert processes.count([found], "pulse") == 0


def test_who_is_silent_no_longer_does() -> None:
    processes.say()
    said_at, _, said = (valkey.client().hget(processes.KEY, "worker:here:1") or b"").partition(b" ")
    silent = int(said_at) - int(processes.LIVES_SECONDS) - 2
    valkey.client().hset(processes.KEY, "worker:here:1", b"%d %b" % (silent, said))

    assert processes.live() == ()


def test_who_leaves_is_gone_at_once() -> None:
    processes.say()
    processes.leave()

    assert processes.live() == ()


def test_a_text_in_the_registers_place_is_replaced() -> None:
    valkey.client().set(processes.KEY, "text")
    assert processes.live() == ()

    processes.say()

    assert len(processes.live()) == 1


def test_the_others_differences_are_without_the_own_and_the_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    processes.say()
    for name, ahead in (("beat:there:2", b"12.5"), ("pulse:there:3", b"null")):
        said_at = int(valkey.client().time()[0])
        said = b'%d {"ahead":%b,"off":true,"held":false,"leapt":0,"alike":false}' % (said_at, ahead)
        valkey.client().hset(processes.KEY, name, said)

    assert processes.differences_of_others() == [12.5]
