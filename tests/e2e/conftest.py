"""The whole system as `make run` starts it, and a real browser in front of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.e2e.visitor import LOOKS, Look, Record, Visitor, find_chromium, visitor
from tests.sandbox_client import PROJECT
from tests.system.conftest import OF_THE_TESTS, System, started_system, system

__all__ = ["started_system", "system"]

QUIET = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
VIEWER = ("eve", "only-looks-around")
RECORD: list[Record] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", action="store_true", help="take the pictures in docs/img anew")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    assert path, "no Chromium here; `make e2e` installs it, or: apt install chromium"
    flags = [*QUIET, "--no-sandbox"] if os.geteuid() == 0 else [*QUIET]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=flags)
        yield running
        running.close()


@pytest.fixture(scope="package")
def record(started_system: System) -> Record:
    RECORD.append(Record(started_system.url))
    return RECORD[0]


@pytest.fixture
def clean(record: Record) -> Iterator[Record]:
    """What pages do wrong during the test fails it."""
    before = len(record.wrongs)
    yield record
    wrongs = record.wrongs[before:]
    assert not wrongs, "\n".join(dict.fromkeys(wrongs))


@pytest.fixture(params=LOOKS, ids=lambda look: look.name)
def look(request: Any) -> Look:
    return request.param


@pytest.fixture
def operator(system: System, browser: Browser, clean: Record) -> Iterator[Visitor]:
    """The first administrator, signed in."""
    secrets = system.environment("secrets.env")
    with visitor(browser, clean) as person:
        person.sign_in(secrets["ADMIN_USERNAME"], secrets["ADMIN_PASSWORD"])
        yield person


@pytest.fixture
def viewer(system: System, browser: Browser, clean: Record) -> Iterator[Visitor]:
    """Somebody of the group that may only look."""
    manage(
        system, "shell", "-v0", "-c",
        "from django.contrib.auth.models import Group, User\n"
        f"eve, _ = User.objects.get_or_create(username={VIEWER[0]!r}, defaults={{'is_staff': True}})\n"
        f"eve.set_password({VIEWER[1]!r}); eve.save()\n"
        "from board.role_grants import VIEWER; eve.groups.set([Group.objects.get(name=VIEWER)])",
    )  # fmt: skip
    with visitor(browser, clean) as person:
        person.sign_in(*VIEWER)
        yield person


def manage(system: System, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in OF_THE_TESTS}
    ran = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT,
        env={**environment, "MARKETMON_HOME": str(system.home)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """In place of Lighthouse: every page's figures, and how long the screen was behind the facts."""
    for record in RECORD:
        say = terminalreporter.write_line
        say(f"\n{record.pages_checked} pages checked, {len(record.wrongs)} things wrong")
        titles = f"{'byte ms':>8}{'paint ms':>9}{'largest':>8}{'kB':>7}{'reqs':>5}{'DOM':>6}{'shift':>7}"
        say(f"{'page':22}{'look':8}{titles}")
        for name, look, seen in record.figures:
            say(
                f"{name:22}{look:8}{seen['first_byte']:8.0f}{seen['first_paint'] or 0:9.0f}{seen['largest_paint']:8.0f}"
                f"{seen['kilobytes']:7.0f}{seen['requests']:5}{seen['elements']:6}{seen['shift']:7.3f}"
            )
        for what, seconds in record.lags:
            say(f"{seconds:6.2f} s from the fact to the screen: {what}")
