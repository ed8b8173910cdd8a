"""What a person does and sees, in a real browser, while exchanges fail and recover under it."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from marketmon.management.commands.sync import SIMULATED
from tests.e2e.conftest import manage
from tests.e2e.visitor import Look, Record, Visitor, visitor
from tests.system.conftest import System

pytestmark = pytest.mark.timeout(420)
ON_SCREEN_SECONDS = 3.0
PUBLIC = {"login": "/admin/login/", "status": "/status"}
PAGES = {
    "board": "/board/",
    "exchange": "/board/exchanges/luno",
    "streamed exchange": "/board/exchanges/kraken",
    "pair": "/board/pairs/BTC/USDT",
    "pipeline": "/board/pipelines/luno/BTC/ZAR",
    "gaps": "/board/gaps/",
    "search": "/board/search/?q=BTC",
    "drills": "/board/drills/",
    "exchange list": "/admin/exchanges/exchange/",
    "exchange settings": "/admin/exchanges/exchange/luno/change/",
    "add an exchange": "/admin/exchanges/exchange/add/",
    "worker list": "/admin/collectors/worker/",
    "run list": "/admin/collectors/run/",
    "transition list": "/admin/collectors/transition/",
    "switch list": "/admin/collectors/switch/",
    "audit": "/admin/exchanges/auditentry/",
    "user": "/admin/auth/user/1/change/",
}
# A tile's state and transport with the moment when they were first on the screen.
FOLLOW = """(name) => {
  window.followed = [];
  const note = () => {
    const tile = document.querySelector(`[data-fragment="tile:${name}"]`);
    const card = tile && tile.querySelector(".bd-card");
    const state = card && [...card.classList].find((each) => each.startsWith("bd-is-")).slice(6);
    const by = card && card.querySelector("dl div:last-child dd").textContent.trim();
    const last = window.followed.at(-1);
    const isNews = card && (!last || last.state !== state || last.by !== by);
    if (isNews) window.followed.push({ state, by, at: Date.now() / 1000 });
  };
  note();
  new MutationObserver(note).observe(document.getElementById("board"), { subtree: true, childList: true });
}"""
FAILED_RUN = (
    "SELECT extract(epoch FROM started_at) + duration_ms / 1000.0 FROM collectors_run "
    "WHERE exchange_id = %s AND outcome <> 'stored' AND started_at > to_timestamp(%s) ORDER BY started_at LIMIT 1"
)
TRANSITION = (
    "SELECT extract(epoch FROM happened_at) FROM collectors_transition WHERE exchange_id = %s "
    "AND happened_at > to_timestamp(%s) AND to_status = %s ORDER BY happened_at LIMIT 1"
)
SWITCH = (
    "SELECT extract(epoch FROM happened_at) FROM collectors_switch WHERE exchange_id = %s "
    "AND happened_at > to_timestamp(%s) AND to_transport = %s ORDER BY happened_at LIMIT 1"
)


class Tile:
    """One exchange on an open board, and how far the screen is behind the database."""

    def __init__(self, person: Visitor, system: System, exchange: str) -> None:
        self.person, self.system, self.exchange = person, system, exchange
        self.page: Page = person.open("/board/")
        self.part = self.page.locator(f'[data-fragment="tile:{exchange}"]')
        self.began = time.time()
        self.page.evaluate(FOLLOW, exchange)

    def wait_for(self, what: str, *, seconds: float = 40, **wanted: str) -> float:
        """When the screen said so first, since the last call."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for seen in self.page.evaluate("window.followed"):
                if seen["at"] >= self.began and wanted.items() <= seen.items():
                    return float(seen["at"])
            self.page.wait_for_timeout(100)
        pytest.fail(f"{self.exchange}: not within {seconds} s on the screen: {what}")

    def expect(self, what: str, fact: str, *values: Any, **wanted: str) -> None:
        """`fact` gives the moment that the database says; the screen follows within three seconds."""
        shown_at = self.wait_for(what, **wanted)
        (row,) = self.system.sql(fact, self.exchange, self.began, *values)
        lag = shown_at - float(row[0])
        self.person.record.lags.append((f"{self.exchange}: {what}", lag))
        assert -0.1 <= lag <= ON_SCREEN_SECONDS, f"{what}: {lag:.2f} s after the fact"


def test_signing_in_leads_to_the_board(operator: Visitor):
    assert operator.open("/").locator("#board").count() == 1
    expect(operator.page.locator("[data-fragment=verdict]")).to_contain_text(
        f"All {len(SIMULATED)} sources deliver", timeout=20_000
    )
    expect(operator.page.locator(".bd-tile")).to_have_count(len(SIMULATED))


def test_a_failing_exchange_and_its_recovery_are_seen_in_time(operator: Visitor, system: System):
    tile = Tile(operator, system, "luno")

    system.sandbox.fault("luno", "html")
    tile.expect("degraded", FAILED_RUN, state="degraded")
    tile.expect("down", TRANSITION, "error", state="down")
    expect(operator.page.locator("[data-fragment=verdict]")).to_contain_text("luno")
    expect(operator.page).to_have_title(re.compile(r"^‼ .*down"))
    expect(operator.page.locator('link[rel="icon"]')).to_have_attribute("href", re.compile(r"favicon-danger\."))
    system.sandbox.heal()

    tile.began = time.time()
    tile.expect("delivers again", TRANSITION, "running", state="delivers")


def test_a_stream_that_falls_silent_is_seen_to_be_polled_and_to_come_back(operator: Visitor, system: System):
    tile = Tile(operator, system, "kraken")
    tile.wait_for("listened to", by="stream")

    system.sandbox.fault("kraken", "ws_silence")
    tile.expect("polled", SWITCH, "poll", by="poll")
    system.sandbox.heal()

    tile.began = time.time()
    tile.expect("listened to again", SWITCH, "stream", by="stream")


def test_blacklisting_with_a_preview_and_lifting_again(operator: Visitor, system: System):
    tile = Tile(operator, system, "quidax")
    page = operator.page

    tile.part.get_by_role("button", name="Blacklist… quidax").click()
    dialog = page.locator("#dialog")
    expect(dialog).to_contain_text("pipelines stop")
    dialog.get_by_label("Reason").fill("walked over by a browser")
    dialog.get_by_role("button", name="Blacklist").click()
    tile = reopened(tile)
    expect(tile.part).to_contain_text("walked over by a browser")
    tile.part.get_by_role("button", name="Lift… quidax").click()
    page.locator("#dialog").get_by_role("button", name="Lift").click()
    page.wait_for_url("**/board/")

    expect(page.locator('[data-fragment="tile:quidax"] .bd-is-delivers')).to_be_visible(timeout=20_000)
    verbs = system.sql("SELECT verb FROM exchanges_auditentry WHERE exchange = 'quidax' ORDER BY id DESC LIMIT 2")
    assert [verb for (verb,) in verbs] == ["lift", "blacklist"]


def test_a_dialog_is_one_and_gives_the_focus_back(operator: Visitor, system: System):
    page = operator.open("/board/")
    button = page.locator('[data-fragment="tile:luno"]').get_by_role("button", name="Blacklist… luno")

    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_label("Reason")).to_be_focused()
    page.keyboard.press("Escape")

    expect(button).to_be_focused()


def test_the_admins_own_dialogs_are_such_too(operator: Visitor):
    page = operator.open("/admin/exchanges/exchange/luno/change/")
    button = page.locator("a[hx-target='#modal-content']", has_text="Blacklist…")

    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Blacklist this exchange")
    expect(dialog.get_by_label("Reason")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(dialog.get_by_role("button", name="Blacklist", exact=True)).to_be_focused()
    page.keyboard.press("Escape")

    expect(button).to_be_focused()


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_viewers_wrong_clock_makes_nothing_look_older(operator: Visitor, hours: int):
    operator.context.add_init_script(f"const right = Date.now; Date.now = () => right() + {hours} * 3600 * 1000;")

    page = operator.open("/board/")

    newest = page.locator('[data-fragment="tile:luno"] time[data-newest]')
    expect(newest).to_have_text(re.compile(r"^\d\d? s ago$"))
    with page.expect_response("**/board/live*"):
        pass
    expect(newest).to_have_text(re.compile(r"^\d\d? s ago$"))


def reopened(tile: Tile) -> Tile:
    expect(tile.page.locator(f'[data-fragment="tile:{tile.exchange}"] .bd-is-off')).to_be_visible(timeout=20_000)
    return Tile(tile.person, tile.system, tile.exchange)


def test_an_exchange_is_added_and_collected(operator: Visitor, system: System):
    manage(system, "exchange", "remove", "valr")
    page = operator.open("/board/")
    expect(page.locator('[data-fragment="tile:valr"]')).to_have_count(0)

    operator.open("/admin/exchanges/exchange/add/")
    page.fill("input[name=exchange]", "valr")
    page.fill("input[name=base_url]", "{SANDBOX_URL}")
    page.get_by_role("button", name="Add", exact=True).click()
    page.wait_for_url("**/adding/**")
    expect(page.get_by_text("health").first).to_be_visible()
    system.wait_until(system.is_healthy, seconds=60, what="valr is collected")

    operator.open("/board/")
    expect(page.locator('[data-fragment="tile:valr"] .bd-is-delivers')).to_be_visible(timeout=20_000)


def test_a_drill_is_started_by_its_button_and_passes(operator: Visitor, system: System):
    page = operator.open("/board/")
    card = page.locator("section.dr")
    card.get_by_label("Exchange").select_option("luno")
    card.get_by_label("Fault").select_option("server-error")
    card.get_by_label("Seconds").fill("6")

    card.get_by_role("button", name="Start drill").click()

    expect(card).to_contain_text("running")
    expect(card.locator(".dr-passed, .dr-failed")).to_have_text("passed", timeout=90_000)
    expect(card).to_contain_text("Detected after")


def test_who_may_only_look_gets_no_buttons(viewer: Visitor):
    page = viewer.open("/board/")
    expect(page.locator(".bd-tile")).to_have_count(len(SIMULATED))

    for path in ("/board/", "/board/exchanges/luno", "/board/drills/", "/board/gaps/", "/admin/exchanges/exchange/"):
        viewer.open(path)
        for word in ("Restart", "Blacklist…", "Lift…", "Backfill now", "Start drill", "Add exchange", "Delete"):
            for found in page.get_by_text(word, exact=True).all():
                assert not found.is_visible(), f"{word} on {path}"


def test_the_status_page_is_read_without_signing_in(system: System, browser: Browser, clean: Record):
    with visitor(browser, clean) as stranger:
        page = stranger.open("/status")
        expect(page.locator("article.exchange")).to_have_count(len(SIMULATED))
        expect(page.locator("body")).not_to_contain_text("http://127.0.0.1")


def test_every_page_is_accessible_in_every_look(look: Look, system: System, browser: Browser, clean: Record):
    """With an exchange that fails, so that there is something red to be read."""
    system.sandbox.fault("luno", "html")
    secrets = system.environment("secrets.env")
    with visitor(browser, clean, look) as person:
        for name, path in PUBLIC.items():
            person.open(path)
            person.check(name)
        person.sign_in(secrets["ADMIN_USERNAME"], secrets["ADMIN_PASSWORD"])
        person.forget_cache()
        for name, path in PAGES.items():
            person.open(path)
            person.check(name)
