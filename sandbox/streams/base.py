"""What a dialect file declares, and the subscriptions that its functions are handed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sandbox.view import View

# (channel, market) in the dialect's own words, in the order they were asked for
Topic = tuple[str, str]


@dataclass
class Subscriptions:
    """One connection's, and the number that venues count their messages with."""

    topics: dict[Topic, None] = field(default_factory=dict)
    sequence: int = 0

    def add(self, topic: Topic) -> None:
        self.topics[topic] = None

    def drop(self, topic: Topic) -> None:
        self.topics.pop(topic, None)

    def next_number(self) -> int:
        self.sequence += 1
        return self.sequence - 1


Frame = dict[str, Any] | list[Any]
Message = dict[str, Any]


@dataclass(frozen=True)
class Dialect:
    """`hear` takes a message in and answers it; `refuse` answers it with the venue's no; `frames` is one second's news.

    `alive` is what the venue says whether or not there is news; `foreign` a message of a market that nobody listed.
    Older connections than `lifetime_seconds` are ended.
    """

    venue: str
    hear: Callable[[View, Subscriptions, Message], list[Frame]]
    refuse: Callable[[Message], list[Frame]]
    frames: Callable[[View, Subscriptions], Iterator[Frame]]
    foreign: Frame
    is_ping: Callable[[Message], bool] = lambda _: False
    greeting: Callable[[View], list[Frame]] = lambda _: []
    alive: Callable[[View], list[Frame]] = lambda _: []
    lifetime_seconds: float | None = None
