"""The pictures in docs/img, taken anew only when asked to: `make e2e ARGS='--pictures -k pictures'`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.visitor import LOOKS, Look, Record, Visitor, visitor
from tests.system.conftest import System

pytestmark = pytest.mark.timeout(600)
HISTORY_MINUTES = 4
DESK = Look("desk", width=1280, height=860)


@pytest.fixture(autouse=True)
def _wanted(request: Any) -> None:
    if not request.config.getoption("--pictures"):
        pytest.skip("pictures are taken with --pictures")


@pytest.fixture
def failing(system: System) -> Iterator[System]:
    """Kraken's stream is gone and its polls get a page of HTML, after some minutes in which all was well."""
    minutes = "SELECT count(DISTINCT minute_at) FROM collectors_rollup"
    system.wait_until(lambda: system.sql(minutes)[0][0] >= HISTORY_MINUTES, seconds=400, what="some minutes of history")
    system.sandbox.fault("kraken", "html")
    system.sandbox.fault("kraken", "ws_close")
    yield system
    system.sandbox.heal()


def test_pictures_of_a_failing_exchange(failing: System, browser: Browser, clean: Record):
    with visitor(browser, clean, DESK) as person:
        signed_in(person, failing)
        person.page.get_by_text("Dismiss").click()
        expect(person.page.locator('[data-fragment="tile:kraken"] .bd-is-down')).to_be_visible(timeout=60_000)
        person.page.wait_for_timeout(3000)  # the next try, the newest rows: whatever comes with the next answers
        person.picture("overview")
        person.open("/status")
        person.picture("status")
    with visitor(browser, clean, LOOKS[1]) as person:
        signed_in(person, failing)
        person.open("/board/pipelines/kraken/BTC/USD")
        person.page.wait_for_timeout(2000)  # the chart is drawn
        person.picture("pipeline-dark")


def test_pictures_of_a_narrow_screen(failing: System, browser: Browser, clean: Record):
    with visitor(browser, clean, LOOKS[2]) as person:
        signed_in(person, failing)
        person.page.get_by_text("Dismiss").click()
        expect(person.page.locator('[data-fragment="tile:kraken"] .bd-is-down')).to_be_visible(timeout=60_000)
        person.picture("board-narrow")


def signed_in(person: Visitor, system: System) -> None:
    secrets = system.environment("secrets.env")
    person.sign_in(secrets["ADMIN_USERNAME"], secrets["ADMIN_PASSWORD"])
    person.open("/board/")
