"""A copy of what is published, and a rendering for all who wait: asked seldom, never by two at once, never too old."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from lib import valkey
from lib.published import PublishedCopy, SharedRendering


class Source:
    """Gives what is published, counts the questions, and fails while `is_away`."""

    def __init__(self, value: str | None) -> None:
        self.value = value
        self.is_away = False
        self.count = 0

    def fetch(self, held: str | None) -> str | None:
        self.count += 1
        if self.is_away:
            raise redis.ConnectionError("away")
        return self.value


def at_once(ask: Callable[[], object], threads: int = 8) -> list[object]:
    ready = threading.Barrier(threads)

    def run(_: int) -> object:
        ready.wait()
        return ask()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


def test_a_copy_is_handed_out_without_asking_again() -> None:
    source = Source("a body")
    copy = PublishedCopy(source.fetch, ask_every_seconds=60)

    assert [copy.newest() for _ in range(3)] == ["a body"] * 3
    assert source.count == 1


def test_news_are_seen_once_it_is_time_to_ask() -> None:
    source = Source("old")
    copy = PublishedCopy(source.fetch, ask_every_seconds=0.05)
    copy.newest()
    source.value = "new"

    early, _, late = copy.newest(), time.sleep(0.06), copy.newest()

    assert (early, late) == ("old", "new")


def test_while_nothing_is_published_every_reader_asks() -> None:
    source = Source(None)
    copy = PublishedCopy(source.fetch, ask_every_seconds=60)
    copy.newest()
    source.value = "the first"

    assert copy.newest() == "the first"


def test_what_is_no_longer_published_is_not_handed_out() -> None:
    source = Source("a body")
    copy = PublishedCopy(source.fetch, ask_every_seconds=0)
    copy.newest()
    source.value = None

    assert copy.newest() is None


def test_readers_go_on_with_the_copy_while_one_asks() -> None:
    began, may_end = threading.Event(), threading.Event()

    def fetch(held: str | None) -> str:
        if held is not None:
            began.set()
            may_end.wait(5)
        return "a body"

    copy = PublishedCopy(fetch, ask_every_seconds=0)
    copy.newest()
    slow = threading.Thread(target=copy.newest)
    slow.start()
    began.wait(5)

    assert copy.newest() == "a body"
    may_end.set()
    slow.join()


def test_a_failed_valkey_is_asked_once_by_all_who_wait_and_left_alone() -> None:
    source = Source(None)
    source.is_away = True
    copy = PublishedCopy(source.fetch)

    assert at_once(copy.newest) == [None] * 8
    assert source.count == 1


def test_a_copy_survives_a_failure_until_its_reader_finds_it_too_old() -> None:
    source = Source("a body")
    copy = PublishedCopy(source.fetch, ask_every_seconds=0)
    copy.newest()
    source.is_away = True

    assert copy.newest() == "a body"


def test_copies_of_one_use_leave_valkey_alone_together() -> None:
    availability, failing, other = valkey.Availability(), Source(None), Source("a body")
    failing.is_away = True

    PublishedCopy(failing.fetch, availability=availability).newest()

    assert PublishedCopy(other.fetch, availability=availability).newest() is None
    assert other.count == 0


def test_one_renders_for_all_who_wait() -> None:
    count = []

    def render() -> int:
        count.append(1)
        time.sleep(0.1)
        return len(count)

    rendering = SharedRendering(render)

    assert set(at_once(rendering.get)) <= {1, 2}  # who came while the first was under way waits for the second
    assert len(count) <= 2


def test_a_rendering_begun_before_a_reader_came_is_not_his() -> None:
    numbers = iter(range(9))
    rendering = SharedRendering(lambda: next(numbers))

    assert [rendering.get(), rendering.get()] == [0, 1]


def test_a_rendering_is_handed_out_for_as_long_as_it_is_good() -> None:
    numbers = iter(range(9))
    rendering = SharedRendering(lambda: next(numbers), good_for_seconds=0.05)

    first, second, _, third = rendering.get(), rendering.get(), time.sleep(0.06), rendering.get()

    assert (first, second, third) == (0, 0, 1)


def test_after_a_failure_nothing_older_is_handed_out() -> None:
    answers = iter(["old", RuntimeError("the database is away"), "new"])

    def render() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    rendering = SharedRendering(render, good_for_seconds=0.01)
    rendering.get()
    time.sleep(0.02)
    with pytest.raises(RuntimeError):
        rendering.get()
    rendering.good_for_seconds = 60

    assert rendering.get() == "new"


def test_what_is_forgotten_is_made_anew() -> None:
    numbers, source = iter(range(9)), Source("a body")
    rendering, copy = SharedRendering(lambda: next(numbers), good_for_seconds=60), PublishedCopy(source.fetch)
    rendering.get(), copy.newest()

    rendering.forget(), copy.forget()

    assert (rendering.get(), copy.newest()) == (1, "a body")
    assert source.count == 2
