"""The board in the browser: who sees it, who may act, what is in the page, and what an action leaves behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from board import actions, first_steps
from collectors.models import Backfill, Gap, GapState, Worker
from exchanges.models import SANDBOX_PLACEHOLDER, AuditEntry, Exchange
from operations import commands
from tests.admin.test_operating import queued
from tests.api.conftest import Fill, now, operator, world
from tests.board.boards import Browser, forgetful

__all__ = ["forgetful", "now", "operator", "world"]

SEES = ("view_worker",)
ACTS = ("view_worker", "change_exchange")
SignIn = Callable[..., Client]


@pytest.fixture
def staff(db: None) -> SignIn:
    """Signs in somebody of the staff who may do just what is named."""

    def sign_in(*codenames: str, checks: bool = False) -> Client:
        user = User.objects.create_user("rita", password="correct horse battery", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client(enforce_csrf_checks=checks)
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def board(world: Fill, forgetful: None) -> None:
    world(10)


def parts_of(page: str) -> dict[str, str]:
    return dict(re.findall(r'data-fragment="([^"]+)" data-hash="([^"]+)"', page))


def test_the_admins_first_page_is_the_board(operator: Client, board: None) -> None:
    first, same = (operator.get(path).content.decode() for path in ("/admin/", "/board/"))
    browser = Browser(operator)
    browser.ask()

    assert parts_of(first) == parts_of(same)
    assert set(parts_of(first)) == set(browser.parts)


def test_a_page_that_was_just_loaded_is_told_what_it_shows_already(operator: Client, board: None) -> None:
    page = operator.get("/board/").content.decode()
    browser = Browser(operator, order=re.findall(r'data-order="([^"]+)"', page)[0])
    browser.parts = {name: [digest, ""] for name, digest in parts_of(page).items()}

    assert browser.ask() is None


def test_the_board_needs_a_login_and_its_permission(client: Client, staff: SignIn, board: None) -> None:
    reader = staff("view_exchange")

    assert client.get("/board/").headers["Location"].startswith("/admin/login/?next=/board/")
    assert client.get("/board/live").headers["HX-Refresh"] == "true"
    assert reader.get("/board/").status_code == 403
    assert reader.get("/board/live").status_code == 403
    assert "board-tiles" not in reader.get("/admin/").content.decode()


def test_a_viewer_sees_everything_and_no_button_of_ours(staff: SignIn, board: None) -> None:
    page = staff(*SEES).get("/board/").content.decode()

    assert "tile:kraken" in page
    assert "data-may-act" not in page  # the style sheet shows buttons only under it
    for_operators = re.compile(r'<span class="[^"]*\bbd-may\b[^"]*">.*?</span>', re.DOTALL)
    assert len(for_operators.findall(page)) > 2
    assert not re.findall(r"<button[^>]*data-(?:act|dialog)=", for_operators.sub("", page))


@pytest.mark.parametrize("verb", ["restart", "backfill"])
def test_a_viewer_who_acts_all_the_same_is_refused(staff: SignIn, board: None, verb: str) -> None:
    generation = Worker.objects.get(pk="kraken").generation

    response = staff(*SEES).post(f"/board/act/{verb}/kraken")

    assert response.status_code == 403
    assert Worker.objects.get(pk="kraken").generation == generation
    assert not AuditEntry.objects.exists()


def test_the_dialogs_that_the_board_opens_refuse_a_viewer(staff: SignIn, operator: Client, board: None) -> None:
    address = re.findall(r'data-dialog="([^"]+)"', operator.get("/board/").content.decode())[0]

    assert "Blacklist this exchange" in operator.get(address).content.decode()
    assert staff(*SEES).get(address).status_code == 403


def test_an_operator_restarts_a_worker_and_it_is_in_the_audit(staff: SignIn, board: None) -> None:
    client = staff(*ACTS)
    Worker.objects.filter(pk="kraken").update(error_count=3, last_outcome="unreachable")

    response = client.post("/board/act/restart/kraken")

    assert response.json() == {"said": "kraken's worker is restarted with a clean record.", "is_done": True}
    assert Worker.objects.get(pk="kraken").error_count == 0
    assert AuditEntry.objects.values_list("verb", "exchange", "who").get() == ("restart", "kraken", "rita")
    assert "data-may-act" in client.get("/board/").content.decode()


def test_an_action_needs_its_token_and_a_post(staff: SignIn, board: None) -> None:
    careful = staff(*ACTS, checks=True)

    assert careful.post("/board/act/restart/kraken").status_code == 403
    assert careful.get("/board/act/restart/kraken").status_code == 405
    assert not AuditEntry.objects.exists()


def test_what_cannot_be_done_is_said(operator: Client, board: None, now: datetime) -> None:
    commands.blacklist("kraken", by="olga", now=now, reason="lies")

    assert operator.post("/board/act/restart/kraken").status_code == 409
    assert "lift the blacklist first" in operator.post("/board/act/restart/kraken").json()["said"]
    assert "stopped on purpose" in operator.post("/board/act/backfill/kraken").json()["said"]
    assert operator.post("/board/act/restart/nobody").status_code == 404
    assert operator.post("/board/act/remove/kraken").status_code == 404


def test_backfill_now_forgets_pauses_but_not_a_request_that_is_being_made(
    operator: Client, board: None, now: datetime
) -> None:
    paused, failed, asked, *_ = Gap.objects.filter(pipeline__market__exchange="kraken").order_by("pk")
    Gap.objects.filter(pk=paused.pk).update(state=GapState.FILLING, next_try_at=now + timedelta(minutes=5))
    Gap.objects.filter(pk=failed.pk).update(next_try_at=now + timedelta(seconds=50), attempts=2)
    Gap.objects.filter(pk=asked.pk).update(state=GapState.FILLING, next_try_at=now + timedelta(seconds=33))

    response = operator.post("/board/act/backfill/kraken")

    assert response.json()["said"].startswith("5 gaps of kraken are asked for")
    states = dict(Gap.objects.values_list("pk", "next_try_at"))
    assert [states[gap.pk] for gap in (paused, failed)] == [None, None]
    assert states[asked.pk] is not None
    assert Backfill.objects.get(pk="kraken").has_work
    assert ("collectors.tasks.fill_gaps", {"exchange_id": "kraken"}) in queued()
    assert AuditEntry.objects.values_list("verb", "exchange").get() == ("backfill", "kraken")


def test_nothing_to_fill_is_said_and_changes_nothing(operator: Client, board: None, now: datetime) -> None:
    Gap.objects.all().delete()

    assert operator.post("/board/act/backfill/kraken").json()["said"] == "kraken has no gap that could be filled."
    assert AuditEntry.objects.get().changed is False
    assert actions.ask_again("binance", by="olga", now=now) == 0


def test_the_first_steps_are_shown_until_they_are_put_away(operator: Client, board: None) -> None:
    shown = operator.get("/board/").content.decode()
    Exchange.objects.filter(pk="kraken").update(base_url="")
    with_a_real_one = operator.get("/board/").content.decode()
    Exchange.objects.exclude(pk="kraken").update(enabled=False)
    without_sandbox = operator.get("/board/").content.decode()
    operator.cookies["board_guide"] = "dismissed"
    dismissed = operator.get("/board/").content.decode()

    assert SANDBOX_PLACEHOLDER not in shown
    assert "What you see is simulated." in shown
    assert "Add the first real exchange." in shown
    assert "Real exchanges were added:</b> kraken" in with_a_real_one
    assert "Nothing is simulated now." in without_sandbox
    assert f"{first_steps.python_here()} manage.py exchange add" in shown
    assert "First steps</h2>" not in dismissed
    assert "Show the first steps" in dismissed


def test_the_page_has_no_inline_script_of_ours_and_a_policy_that_forbids_them(operator: Client, board: None) -> None:
    response = operator.get("/board/")
    page = response.content.decode()

    policy = response.headers["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval';" in policy
    assert not re.findall(r"<script(?![^>]*\bsrc=)[^>]*>\s*\S", page)
    assert not re.findall(r"\son(click|load|error|submit|change)=", page)
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)


def test_the_live_parts_are_never_kept_by_a_cache(operator: Client, board: None) -> None:
    response = operator.get("/board/live")

    assert "no-store" in response.headers["Cache-Control"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", response.headers["Board-Taken-At"])
