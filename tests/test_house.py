"""How the house is built: one word per class, and every package on one floor."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.sandbox_client import PROJECT

NOT_OWN = {"tests", "benchmarks", "migrations"}
BY_FRAMEWORK = {"Meta", "Media", "Command"}  # Django asks for these names
# The sandbox speaks of the same things as the project that asks it, without knowing it.
NAMED_TWICE = {"Candle", "Exchange", "Market", "Quote", "Trade"}
APART = {"sandbox", "tests", "benchmarks"}  # outside of the floors: imported by nothing that runs in production


def own_files() -> Iterator[Path]:
    for package in packages() - NOT_OWN:
        for path in (PROJECT / package).rglob("*.py"):
            if not NOT_OWN & set(path.relative_to(PROJECT).parts):
                yield path


def packages() -> set[str]:
    return {path.parent.name for path in PROJECT.glob("*/__init__.py")}


def test_a_class_name_is_given_once() -> None:
    names = Counter(
        node.name
        for path in own_files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.name not in BY_FRAMEWORK
    )

    assert {name for name, count in names.items() if count > 1} == NAMED_TWICE
    assert len(NAMED_TWICE) <= 5


def test_every_package_stands_on_one_floor() -> None:
    configured = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]
    floors = next(one["layers"] for one in configured["contracts"] if one["name"] == "packages import one way")
    standing = [name for floor in floors for name in floor.split(" | ")]

    assert sorted(standing) == sorted(packages() - APART)
    assert sorted(configured["root_packages"]) == sorted(standing)


# --- one owner per fact, and names that say what they are --------------------------------------------------------

LEDGER = Path("collectors/gaps/ledger")
WRITES_GAPS = re.compile(
    r"\b(INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO)\s+(ONLY\s+)?collectors_gap\b", re.IGNORECASE
)
NUMBERED = re.compile(r"\bdocuments? [1-5]\b|document_[1-5]", re.IGNORECASE)


def test_gaps_are_written_by_one_package() -> None:
    writers = {path.relative_to(PROJECT).parent for path in own_files() if WRITES_GAPS.search(path.read_text())}

    assert writers == {LEDGER}


def test_no_document_is_spoken_of_by_a_number() -> None:
    pages = [path for package in packages() for path in (PROJECT / package).rglob("*.py") if path != Path(__file__)]
    numbered = {path.relative_to(PROJECT) for path in pages if NUMBERED.search(path.read_text())}

    assert numbered == set()
