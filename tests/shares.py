"""The part of `python -m tests` inside each pytest process: it runs the test files that the parent hands out.

The next file is asked for when the last test of one is about to run, so that pytest knows which fixtures to keep.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import TextIO

import pytest

FILES_FD, WORDS_FD = "TESTS_FILES_FD", "TESTS_WORDS_FD"  # pipes from and to the parent
NEXT = "next"  # the word that asks for a file; any other line is for people

for name in (FILES_FD, WORDS_FD):
    if name in os.environ:
        os.set_inheritable(int(os.environ[name]), False)  # what a test leaves behind must not keep the parent waiting


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    if session.testsfailed or session.config.option.collectonly:
        return None  # what could not be collected is pytest's to tell
    with os.fdopen(int(os.environ[FILES_FD])) as files:
        for item, following in pairwise(chain(_handed_out(session.items, files), [None])):
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
    return True


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _tell(f"FAILED {report.when} {report.nodeid}")


def _handed_out(items: list[pytest.Item], files: TextIO) -> Iterator[pytest.Item]:
    by_file: dict[str, list[pytest.Item]] = {}
    for item in items:
        by_file.setdefault(item.location[0], []).append(item)
    while True:
        _tell(NEXT)
        path = files.readline().strip()
        if not path:
            return
        yield from _in_order(by_file.get(path, []))


def _in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """As pytest-randomly has shuffled them; those of a running system as they stand in their file."""
    is_system = any(item.get_closest_marker("system") for item in items)
    return sorted(items, key=lambda item: item.location[1] or 0) if is_system else items


def _tell(line: str) -> None:
    os.write(int(os.environ[WORDS_FD]), f"{line}\n".encode())
