"""How the house is built: one word per class, and every package on one floor."""

from __future__ import annotations

import ast
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
