"""Every fault of a connection, on every exchange that is listened to; `make test` tries some of them."""

from __future__ import annotations

import itertools

import pytest

from tests.streaming.conftest import STREAMED, Site, crowd, listener, talkative_sandbox
from tests.streaming.test_faults import BREAKING, NONE, SOME, gaps_of, listening, seen_through

__all__ = ["crowd", "listener", "listening", "talkative_sandbox"]

pytestmark = [pytest.mark.system, pytest.mark.django_db, pytest.mark.timeout(300)]


def test_a_stream_that_fails_is_polled_meanwhile_and_comes_back(listening: Site):
    others = [name for name in BREAKING if name not in SOME]

    assert seen_through(listening, others) == set(itertools.product(STREAMED, others))


def test_what_is_not_polled_meanwhile_is_one_gap_of_each_market(listening: Site):
    assert gaps_of(listening, (NONE,)) == set(itertools.product(STREAMED, (NONE,)))
