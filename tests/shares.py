"""The part of `python -m tests` inside each pytest process: it runs the test files that the parent hands out.

The next file is asked for when the last test of one is about to run, so that pytest knows which fixtures to keep.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import TextIO

import pytest

FILES, WISHES = "TESTS_FILES_FD", "TESTS_WISHES_FD"  # pipes from the parent, and to it: how many have failed so far

for name in (FILES, WISHES):
    if name in os.environ:
        os.set_inheritable(int(os.environ[name]), False)  # what a test leaves behind must not keep the parent waiting


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    if session.testsfailed or session.config.option.collectonly:
        return None  # what could not be collected is pytest's to tell
    with os.fdopen(int(os.environ[FILES])) as files, os.fdopen(int(os.environ[WISHES]), "w") as wishes:
        for item, following in pairwise(chain(_handed_out(session, files, wishes), [None])):
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
    return True


def _handed_out(session: pytest.Session, files: TextIO, wishes: TextIO) -> Iterator[pytest.Item]:
    by_file: dict[str, list[pytest.Item]] = {}
    for item in session.items:
        by_file.setdefault(item.location[0], []).append(item)
    while True:
        wishes.write(f"{session.testsfailed}\n")
        wishes.flush()
        name = files.readline().strip()
        if not name:
            return
        yield from _in_order(by_file.get(name, []))


def _in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """As pytest-randomly has shuffled them; those of a running system as they stand in their file."""
    is_system = any(item.get_closest_marker("system") for item in items)
    return sorted(items, key=lambda item: item.location[1] or 0) if is_system else items
