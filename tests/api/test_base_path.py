"""The path of a host under which everything is: what it may be, and what is left of a request's path.
tests/lab/test_base_path.py visits a site that has one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.urls import get_resolver

from lib import environment
from marketmon.settings_table import TABLE
from web.gateway import own_path

BASE = "/tools/mm"
(SETTING,) = (each for each in TABLE if each.name == "BASE_PATH")


@pytest.mark.parametrize(
    ("path", "own"),
    [
        (f"{BASE}/live", "/live"),
        ("/live", "/live"),
        (BASE, ""),
        (f"{BASE}/", "/"),
        (f"{BASE}x/live", f"{BASE}x/live"),
        (f"{BASE}{BASE}/live", f"{BASE}/live"),
        ("/tools/live", "/tools/live"),
    ],
)
def test_a_path_is_ours_with_it_and_without(settings: Any, path: str, own: str) -> None:
    settings.FORCE_SCRIPT_NAME = BASE
    assert own_path(path) == own

    settings.FORCE_SCRIPT_NAME = None
    assert own_path(path) == path


def read(text: str) -> Any:
    return environment.value_of(SETTING, {"BASE_PATH": text})


@pytest.mark.parametrize(
    ("text", "path"), [("", ""), ("/", ""), ("/mm", "/mm"), ("/mm/", "/mm"), ("/a/b-c_d.e/", "/a/b-c_d.e")]
)
def test_a_path_is_read_without_its_last_slash(text: str, path: str) -> None:
    assert read(text) == path


@pytest.mark.parametrize(
    "text", ["mm", "//mm", "/m m", "/mm?x", "/m%6d", "/../mm", "https://h/mm", "/api", "/board/mm"]
)
def test_what_is_no_path_or_one_of_ours_is_refused(text: str) -> None:
    with pytest.raises(environment.WrongValue, match="a path like /marketmon that begins with no route of ours"):
        read(text)


def test_no_route_of_ours_can_be_the_path() -> None:
    """A proxy that takes it away would leave what is meant in doubt."""
    ours = {re.split(r"[/?(\\$]", str(each.pattern).removeprefix("^"))[0] for each in get_resolver().url_patterns}
    assert {name for name in ours if name} - {"favicon.ico"} <= set(SETTING.words)
