"""Declarations of a dialect file, and the subscriptions that its functions are handed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sandbox.market import Book
from sandbox.view import View

# (channel, market) in the dialect's own words, in the order they were asked for
Topic = tuple[str, str]


@dataclass
class Subscriptions:
    """One connection's subscriptions, and the number that venues count their messages with.

    `told_at` is the second whose book or trade a topic was last told of, `told` that book, `depths` the levels that one
    was asked with.
    """

    topics: dict[Topic, None] = field(default_factory=dict)
    sequence: int = 0
    told_at: dict[Topic, int] = field(default_factory=dict)
    told: dict[Topic, Book] = field(default_factory=dict)
    depths: dict[Topic, int] = field(default_factory=dict)

    def add(self, topic: Topic) -> None:
        """Adds a topic; asked for again, it is told from its beginning."""
        self.topics[topic] = None
        self.forget(topic)

    def drop(self, topic: Topic) -> None:
        self.topics.pop(topic, None)
        self.forget(topic)

    def forget(self, topic: Topic) -> None:
        self.told_at.pop(topic, None)
        self.told.pop(topic, None)

    def next_number(self) -> int:
        self.sequence += 1
        return self.sequence - 1

    def told_before(self, topic: Topic, second: int) -> int | None:
        """Returns the second that was told last, None for the first, and notes that this one now is."""
        before = self.told_at.get(topic)
        self.told_at[topic] = second
        return before


Frame = dict[str, Any] | list[Any]
Message = dict[str, Any]


@dataclass(frozen=True)
class StreamDialect:
    """A venue's dialect: `hear` answers a message, `refuse` does so with the venue's no; `frames` is one second's news.

    `alive` is what the venue says whether or not there is news; `foreign` a message of a market that nobody listed.
    Older connections than `lifetime_seconds` are ended.
    """

    hear: Callable[[View, Subscriptions, Message], list[Frame]]
    refuse: Callable[[Message], list[Frame]]
    frames: Callable[[View, Subscriptions], Iterator[Frame]]
    foreign: Frame
    is_ping: Callable[[Message], bool] = lambda _: False
    greeting: Callable[[View], list[Frame]] = lambda _: []
    alive: Callable[[View], list[Frame]] = lambda _: []
    lifetime_seconds: float | None = None
