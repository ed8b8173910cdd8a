"""Every `curl` on a page works as it stands, against the system that `make run` starts and with the keys it makes."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests

from lib import clock
from tests.sandbox_client import PROJECT
from tests.system.conftest import INTERVAL_SECONDS, System

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
VARIABLE = re.compile(r"\$([A-Z_]+)")
CURL = argparse.ArgumentParser()
CURL.add_argument("url")
CURL.add_argument("-X", dest="method", default="GET")
CURL.add_argument("-H", dest="headers", action="append", default=[])
CURL.add_argument("-d", dest="body")


def calls() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for line in page.read_text().splitlines():
            if line.strip().startswith("curl "):
                yield page, line.strip()


def make(line: str, names: Mapping[str, str], home: str) -> requests.Response:
    """As curl would; the page's own address is taken for the system's."""
    said = VARIABLE.sub(lambda found: names[found[1]], line).replace("http://127.0.0.1:8000", home)
    call = CURL.parse_args(shlex.split(said)[1:])
    headers = dict(header.split(": ", 1) for header in call.headers)
    return requests.request(call.method, call.url, headers=headers, data=call.body, timeout=30)


@pytest.fixture
def names(system: System) -> Iterator[dict[str, str]]:
    known = {
        **system.environment("secrets.env"),
        **system.environment("demo_keys.env"),
        "HERE": system.url,
        "TODAY": f"{clock.now():%Y-%m-%d}",
    }
    yield known
    as_it_was = {"poll_interval_seconds": INTERVAL_SECONDS}  # the pages give luno another
    place, key = f"{system.url}/api/v1/exchanges/luno/settings", {"X-Admin-Key": known["ADMIN_API_KEY"]}
    requests.patch(place, json=as_it_was, headers=key, timeout=10).raise_for_status()


def test_every_documented_call_answers(system: System, names: dict[str, str]):
    found = list(calls())

    answers = {line: make(line, names, system.url) for _, line in found}

    assert len(found) > 20
    assert {line: answer.text[:300] for line, answer in answers.items() if answer.status_code != 200} == {}
