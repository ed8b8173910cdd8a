"""Docstrings of functions begin with a verb, so that an editor's pop-up says what a function does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOT_OURS = {"tests", "benchmarks"}
SKIPPED = {"migrations", "node_modules"}

# "Returns", "Says", "Does"; or a sample of the result in backticks.
VERB = re.compile(r"`|(?P<word>[A-Z][a-z]*s)\b(?! of\b)")
# Words with the form of such a verb that are none.
NO_VERBS = frozenset(
    [
        "Across",
        "Addresses",
        "Always",
        "As",
        "Besides",
        "Candles",
        "Days",
        "Does",
        "Errors",
        "Gaps",
        "Has",
        "Hours",
        "Ids",
        "Is",
        "Its",
        "Less",
        "Markets",
        "Milliseconds",
        "Minutes",
        "Names",
        "Numbers",
        "Others",
        "Ours",
        "Pages",
        "Perhaps",
        "Plus",
        "Prices",
        "Quotes",
        "Rows",
        "Seconds",
        "Symbols",
        "This",
        "Thus",
        "Towards",
        "Trades",
        "Unless",
        "Values",
        "Was",
        "Whereas",
        "Yes",
    ]
)


def own_files() -> Iterator[Path]:
    for package in sorted(ROOT.glob("*/__init__.py")):
        if package.parent.name not in NOT_OURS:
            yield from (path for path in package.parent.rglob("*.py") if not SKIPPED.intersection(path.parts))


def begins_with_verb(docstring: str) -> bool:
    found = VERB.match(docstring)
    return found is not None and found["word"] not in NO_VERBS


def offenders(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring and not begins_with_verb(docstring):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {docstring.splitlines()[0]}"


def test_every_function_docstring_begins_with_a_verb_in_the_third_person() -> None:
    found = [line for path in own_files() for line in offenders(path)]

    assert not found, "\n".join(["begin these with a verb, such as Returns, Says whether or Stores:", *found])


def test_words_that_only_look_like_verbs_are_told_apart() -> None:
    assert begins_with_verb("Returns the rows.")
    assert not begins_with_verb("Rows of a page.")
    assert not begins_with_verb("The rows of a page.")
    assert not begins_with_verb("Lists of rows.")
