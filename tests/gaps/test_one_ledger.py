"""Nobody but the package `collectors/gaps/ledger/` writes a gap: all own code is read for SQL and for the ORM."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.gaps import ledger
from collectors.models import GapCause, GapState

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "access", "board", "collectors", "embedded", "exchanges", "feeds", "incidents", "lib", "marketmon", "metrics",
    "operations",
    "web",
)  # fmt: skip
LEDGER = Path(ledger.__file__).parent
SOURCES = [
    path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if "migrations" not in path.parts and LEDGER not in path.parents
]
WRITES_IN_SQL = re.compile(
    r"\b(INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE|COPY)\s+(ONLY\s+)?\"?collectors_gap\b", re.IGNORECASE
)
WRITES_IN_ORM = {
    "bulk_create", "bulk_update", "create", "delete", "get_or_create", "save", "update", "update_or_create",
}  # fmt: skip
# A word that is a cause or a state, quoted as SQL quotes it. `unknown`, `open` and `filled` are words of other things.
WORDS = {*GapCause.values, *GapState.values} - {"unknown", "open", "filled"}


def offences(source: str) -> Iterator[str]:
    """Every place of a module that writes a gap, or spells the word of one in SQL."""
    tree = ast.parse(source)
    for text in _texts(tree):
        yield from (f"SQL: {found.group()}" for found in WRITES_IN_SQL.finditer(text))
        if re.search(r"\b(SELECT|UPDATE|INSERT|WHERE)\b", text):
            yield from (f"word: {word}" for word in sorted(WORDS) if f"'{word}'" in text)
    gaps = _names_of_gaps(tree)
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for called in calls:
        if isinstance(called, ast.Attribute) and called.attr in WRITES_IN_ORM:
            # `update` alone is a dictionary's, too
            is_related = called.attr != "update" and ast.unparse(called.value).endswith(".gaps")
            if is_related or _is_made_of(called.value, gaps):
                yield f"ORM: {ast.unparse(called)}"


def _texts(tree: ast.AST) -> Iterator[str]:
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body and isinstance(node.body[0], ast.Expr)
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def _names_of_gaps(tree: ast.AST) -> set[str]:
    """The model, functions and arguments that are said to be gaps, and what is assigned from any of them."""
    names = {"Gap"}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.returns and _speaks_of(node.returns, {"Gap"}):
            names.add(node.name)
        if isinstance(node, ast.arg) and node.annotation and _speaks_of(node.annotation, {"Gap"}):
            names.add(node.arg)
    while True:
        found = {
            target.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign | ast.NamedExpr | ast.For | ast.comprehension)
            for target in _targets(node)
            if isinstance(target, ast.Name) and _is_made_of(_value(node), names)
        }
        if found <= names:
            return names
        names |= found


def _targets(node: ast.Assign | ast.NamedExpr | ast.For | ast.comprehension) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _value(node: ast.Assign | ast.NamedExpr | ast.For | ast.comprehension) -> ast.expr:
    return node.iter if isinstance(node, ast.For | ast.comprehension) else node.value


def _is_made_of(value: ast.expr, names: set[str]) -> bool:
    """Whether a chain of calls begins with one of the names, or goes through a pipeline's gaps.

    `Gap.objects.filter(...)`, `due(...)`, `gap`, `pipeline.gaps.all()`.
    """
    while isinstance(value, ast.Call | ast.Attribute | ast.Subscript):
        if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Attribute) and value.value.attr == "gaps":
            return True
        value = value.func if isinstance(value, ast.Call) else value.value
    return isinstance(value, ast.Name) and value.id in names


def _speaks_of(node: ast.AST, names: set[str]) -> bool:
    return any(
        (isinstance(each, ast.Name) and each.id in names) or (isinstance(each, ast.Constant) and each.value in names)
        for each in ast.walk(node)
    )


def test_no_other_module_writes_a_gap() -> None:
    found = {str(path.relative_to(ROOT)): list(offences(path.read_text())) for path in SOURCES}

    assert len(SOURCES) > 300
    assert {path: words for path, words in found.items() if words} == {}


def test_the_ledger_is_seen_to_write_in_both_ways() -> None:
    texts = [path.read_text() for path in LEDGER.glob("*.py")]
    found = {offence.partition(":")[0] for text in texts for offence in offences(text)}

    assert {"SQL", "ORM"} <= found


@pytest.mark.parametrize(
    "source",
    [
        'END = "UPDATE collectors_gap SET ended_at = now()"',
        'END = f"delete\\n from collectors_gap where id = {number}"',
        "WHICH = \"SELECT 1 FROM collectors_gap WHERE cause = 'our outage'\"",
        "Gap.objects.filter(pk=1).update(cause='')",
        "gap = Gap.objects.first()\ngap.save()",
        "mine = Gap.objects.all()\nold = mine.filter(id=1)\nold.delete()",
        "def due() -> QuerySet[Gap]: ...\n\nfor each in due():\n    each.delete()",
        "def end(gap: Gap | None) -> None:\n    gap.save()",
        "pipeline.gaps.create(started_at=now)",
        "pipeline.gaps.filter(ended_at=None).update(ended_at=now)",
    ],
)
def test_a_module_that_writes_one_is_found(source: str) -> None:
    assert list(offences(source))


@pytest.mark.parametrize(
    "source",
    ["Gap.objects.filter(pk=1).exists()", 'READ = "SELECT * FROM collectors_gap"', "UPDATE = 'UPDATE collectors_gaps'"],
)
def test_a_module_that_reads_is_not(source: str) -> None:
    assert not list(offences(source))
