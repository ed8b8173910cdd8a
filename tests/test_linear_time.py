"""No pattern of ours, and no reader of strangers' texts, takes more than linear time over any text.

The patterns are found by looking: what modules and classes hold, what is given to `re` as a text, what URLs are made
of. A new one without its worst texts in WORST fails here. Sixteen times the text may cost forty times the CPU time.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.validators import RegexValidator
from django.urls import URLPattern, URLResolver, get_resolver

import marketmon.urls  # noqa: F401  (the admin's pages are registered in its order)
from access import admin_key, keys
from access.addresses import caller_address
from lib.encoding import accepts_gzip
from lib.home import PROJECT_DIR
from web import middleware, redaction
from web.drf import nesting_depth

PACKAGES = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text())["tool"]["mypy"]["packages"]
SHORT = 2_000  # characters
TIMES, MAY_COST = 16, 40
# Their library has models only where a second factor or OIDC is set up. They have no patterns, as a test sees.
NOT_IMPORTED = ("marketmon.sign_in.oidc", "marketmon.sign_in.second_factor")
TOO_SHORT_TO_MEASURE = 0.002  # seconds; quadratic time over the longer text is a hundred times that

Pattern = re.Pattern[Any]


class Text(NamedTuple):
    """A beginning, what is said again and again, and an end that makes a pattern look back."""

    begin: str
    again: str
    end: str = ""

    def of(self, length: int) -> str:
        return self.begin + self.again * (length // len(self.again)) + self.end


# --- finding them ---------------------------------------------------------------------------------------------------


@cache
def module_names() -> tuple[str, ...]:
    found = []
    for package in PACKAGES:
        found.append(package)
        found.extend(
            each.name
            for each in pkgutil.walk_packages([str(PROJECT_DIR / package)], f"{package}.")
            if "migrations" not in each.name and not each.name.endswith("__main__")
        )
    return tuple(name for name in found if name not in NOT_IMPORTED)


@cache
def patterns() -> Mapping[str, Pattern]:
    """By where it stands: `module.NAME`, `module.Class.NAME`, or `module: the text` of one that has no name."""
    return {name: pattern for module in module_names() for name, pattern in _patterns_in(module)}


def _patterns_in(module_name: str) -> Iterator[tuple[str, Pattern]]:
    module = importlib.import_module(module_name)
    tree = ast.parse(Path(str(module.__file__)).read_text())
    own = set(_assigned(tree.body))
    for name, value in vars(module).items():
        if name in own:
            yield from _patterns_of(f"{module_name}.{name}", value)
        elif inspect.isclass(value) and value.__module__ == module_name:
            for inner, held in vars(value).items():
                yield from _patterns_of(f"{module_name}.{name}.{inner}", held)
    for function, argument in _calls_of_re(tree):
        if function != "compile" and isinstance(argument, ast.Constant):
            yield f"{module_name}: {argument.value!r}", re.compile(argument.value)


def _assigned(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for target in targets:
            yield from (each.id for each in ast.walk(target or ast.Pass()) if isinstance(each, ast.Name))


def _patterns_of(name: str, value: object) -> Iterator[tuple[str, Pattern]]:
    if isinstance(value, re.Pattern):
        yield name, value
    elif isinstance(value, RegexValidator):
        yield name, value.regex  # type: ignore[misc]
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _patterns_of(f"{name}[{key!r}]", each)
    elif isinstance(value, list | tuple | set | frozenset):
        for number, each in enumerate(value):
            yield from _patterns_of(f"{name}[{number}]", each)


def _calls_of_re(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            continue
        of = node.func.value
        if isinstance(of, ast.Name) and of.id == "re" and node.func.attr != "escape":
            yield node.func.attr, node.args[0]


@cache
def url_patterns() -> Mapping[str, Pattern]:
    return dict(_urls(get_resolver().url_patterns))


def _urls(found: Any) -> Iterator[tuple[str, Pattern]]:
    for each in found:
        if isinstance(each, URLResolver):
            yield from _urls(each.url_patterns)
        elif isinstance(each, URLPattern):
            compiled = each.pattern.regex
            yield compiled.pattern, compiled


# --- the worst texts ------------------------------------------------------------------------------------------------

WORST: dict[str, list[Text]] = {
    "access.forms.BETWEEN": [Text("", " "), Text("", "a "), Text("", ",;")],
    "feeds.errors._OF_THE_REGION": [Text("", "your "), Text("", "restricted "), Text("", "not available i")],
    "feeds.recordings._ADDRESS": [Text("", "1."), Text("", "1.1.1."), Text("", "111")],
    "feeds.recordings._LONG_ADDRESS": [Text("", "a:"), Text("", "abcd:"), Text("", "abcd")],
    "feeds.recordings._NAMED": [
        Text("", '"token":"'),
        Text("", '"token": '),
        Text('"token":"', "a"),
        Text("", '"secret"'),
    ],
    "incidents.addresses.ROUTING_KEY": [Text("", "a"), Text("", "a-")],
    "incidents.addresses.SIGNING_SECRET": [Text("whsec_", "a"), Text("", "whsec_")],
    "incidents.addresses.TOPIC": [Text("", "a"), Text("", "a/")],
    "feeds.shared.identity._NO_LETTERS": [Text("", "-"), Text("", "A-")],
    "feeds.shared.halt_words._NO_LETTERS": [Text("", "_"), Text("", "a_")],
    "feeds.waits.BAN_WORDS": [Text("", "banne"), Text("", "temporary "), Text("", "ip ba")],
    "feeds.waits.RATE_WORDS": [
        Text("", "too many "),
        Text("", "requests "),
        Text("", "error code: 101"),
        Text("", "rate_"),
        Text("", "request count "),
        Text("", "429 "),
    ],
    "feeds.waits._IN": [
        Text("in", " "),
        Text("in:", " "),
        Text("in ", "1"),
        Text("in 1", " "),
        Text("in 1.", "1"),
        Text("", "in "),
    ],
    "feeds.waits._UNTIL": [Text("", "until "), Text("until ", "1"), Text("until", " ")],
    "marketmon.backup.archive.NAME": [Text("marketmon-", "1"), Text("", "marketmon-")],
    "marketmon.docs_pages._LINK": [Text('href="', "a"), Text("", 'href="a'), Text('href="a#', "b"), Text("", "href=")],
    "marketmon.docs_pages._TITLE": [Text("", "# "), Text("", "#\n"), Text("# ", "a")],
    "web.internal.PATHS": [Text("/", "health"), Text("", "/live")],
    r"lib.environment: '(/[A-Za-z0-9._~-]+)+'": [Text("", "/a"), Text("/", "a"), Text("", "/a", " ")],
    "lib.environment.PLAIN": [Text("", "a"), Text("", "a", " ")],
    r"lib.environment: 'https?://[^\\s/]\\S*'": [
        Text("https://", "a"),
        Text("https://", "a", " "),
        Text("", "https://"),
    ],
    "lib.server_addresses.POSTGRES": [
        Text("postgres://", "a"),
        Text("postgres://a/", "a", "@"),
        Text("postgres://", "@"),
        Text("postgres://a?", "?"),
    ],
    r"lib.server_addresses: '/?\\d*'": [Text("/", "1"), Text("/", "1", "a")],
    r"lib.server_addresses: '[\\d,]*'": [Text("", "1,"), Text("", "1,", "a")],
    "access.admin_key.BEARER": [Text("bearer", " "), Text("bearer x", " ", "y"), Text("bearer ", "x", " y")],
    "access.admin_key: '[^a-z0-9]'": [Text("", "-"), Text("", "a-")],
    "access.keys.PRESENTED": [Text("mm_aaaaaaaa_", "a", "!"), Text("", "mm_aaaaaaaa_")],
    "board.drills.sandbox_client.CLONE": [Text("{SANDBOX_URL}/clone-", "a", "!"), Text("", "{SANDBOX_URL}/clone-")],
    "board.links.UNFIT": [Text("", "/a"), Text("", ".", "a"), Text("", "/...")],
    "board.management.commands.drill: '([0-9]+(?:\\\\.[0-9]+)?)([smh]?)'": [
        Text("", "1", "x"),
        Text("1.", "1", "x"),
        Text("", "1."),
    ],
    "collectors.history.partitions.NAME": [Text("", "_20260101"), Text("", "_")],
    "collectors.status.metered.WHOLE_NUMBER": [Text("", "1", "x")],
    "embedded.output.LOUD_TEXT": [Text("", "a."), Text("", "Error"), Text("", "."), Text("", "ERROR_")],
    "embedded.site.PLAIN_PATH": [Text("", "/a", "!"), Text("", "a")],
    "exchanges.models.EXCHANGE_ID": [Text("", "a", "!")],
    "exchanges.models: '[a-z0-9_-]{1,64}'": [Text("", "a", "!")],
    "feeds.ccxt.prediction: '[^A-Z0-9]+'": [Text("", "a", "A"), Text("", "aA")],
    "feeds.ccxt.prediction: '[^A-Za-z0-9._-]'": [Text("", "!"), Text("", "!a")],
    "feeds.errors._SECRET_PARAMETER": [Text("token", " "), Text("", "token "), Text("", "token="), Text("", "api-")],
    "feeds.errors._URL_LOGIN": [
        Text("", "a."),
        Text("://", "a"),
        Text("", "://a@"),
        Text("", "://:"),
        Text("://", "a@"),
    ],
    "lib.admin_pages.ROW_ID": [Text("", "0", "x")],
    "lib.encoding.GZIP": [Text("", ",gzip;q=0."), Text(",gzip", " "), Text(",gzip;q=0.", "0"), Text("", " gzip ")],
    "metrics.models.GRID_ID": [Text("", "a", "!")],
    "metrics.schemas.GRID_ID_PATTERN": [Text("", "a", "!")],
    "operations.admin.forms.BETWEEN_MARKETS": [Text("", ",\n;"), Text("", "a,")],
    "operations.admin.forms.BETWEEN_QUOTES": [Text("", ", "), Text("", "a,")],
    "operations.api.requests.MARKET": [Text("", "a"), Text("a:", "a", "\n"), Text("", "a:")],
    "sandbox.control.SYMBOL": [Text("", "A/A:"), Text("", "A"), Text("A/A:", "A", "!")],
    "sandbox.exchange.CLONE": [Text("", "clone-"), Text("clone-", "a", "!")],
    "sandbox.questions.STRIKE": [Text("", "-T1."), Text("-T", "1"), Text("", "above-")],
    "sandbox.target.ENCODED_SCHEME": [Text("", "http"), Text("", "https%3a")],
    "sandbox.target.SCHEME": [Text("", "http"), Text("", "wss:/")],
    "sandbox.venues.base: '\\\\{(\\\\w+)\\\\}'": [Text("", "{a"), Text("{", "a"), Text("", "{")],
    "web.compression.PACKABLE": [Text("text/", "css"), Text("", "text/css")],
    "web.drf._BRACKETS_OUTSIDE_STRINGS": [
        Text('"', '\\"'),
        Text("", '"'),
        Text('"', "a"),
        Text("", '"\\'),
        Text("", "["),
    ],
    "web.drf: '[0-9]{1,4}'": [Text("", "1", "x")],
    "web.admission.NAMED_PATHS": [Text("/api/v1/", "a"), Text("/api/v1/gaps", "/"), Text("/metrics", "/")],
    "web.gateway.METRICS_PATH": [Text("/metrics", "/"), Text("", "/grids")],
    "web.middleware.API_PATH": [Text("/api", "/"), Text("", "/api")],
    "web.middleware.BROKEN_BYTE": [Text("", "%"), Text("", "%8")],
    "web.middleware.CONTROL": [Text("", "a"), Text("", "\x00")],
    "web.middleware.SANE_ID": [Text("", "a", "!")],
    "web.redaction._BEARER": [Text("bearer", " "), Text("", "bearer "), Text("", "basic aaaaaaa ")],
    "web.redaction._CONTROL": [Text("", "a"), Text("", "\x00")],
    "web.redaction._NAMED_SECRET": [
        *(Text("", "a-"), Text("", "api-"), Text("", "a_"), Text("", "token "), Text("token", " "), Text("", "token=")),
        *(Text("", 'token="'), Text('token="', '\\"'), Text("", 'token=\\"'), Text("", "token=b'\\"), Text("", "%2d")),
        *(
            Text("token=", "bearer "),
            Text("token= bearer", " "),
            Text("", "token',"),
            Text("token',", " "),
            Text("", "api%"),
        ),
    ],
    "web.redaction._OUR_KEY": [Text("", "mm_aaaaaaaa_"), Text("mm_aaaaaaaa_", "a"), Text("", "mm_aaaaaaaa_- ")],
    "web.redaction._REFUSED_ROW": [
        Text("", "row contains ("),
        Text("row contains (", ")"),
        Text("row contains (", "a)"),
    ],
    "web.redaction._SECRET_KEY": [Text("", "a-"), Text("", "api-"), Text("", "token_"), Text("", "token", "!")],
    "web.redaction._URL_LOGIN": [
        *(Text("", "a."), Text("://", "a"), Text("", "a://"), Text("", "://a@"), Text("", "://:"), Text("://", "a@")),
    ],
}

# Texts that end up in `re` without being ours: where, and why that is no stranger's.
FROM_ELSEWHERE = {
    "sandbox.faults": "what a test's author gives to the sandbox, which is never in production",
    "sandbox.streams.session": "the same",
    "web.middleware": "our own setting SECURE_REDIRECT_EXEMPT: the first word of a path, and its end",
}

READERS: dict[str, tuple[Callable[[str], object], list[Text]]] = {
    "nesting_depth": (
        lambda text: nesting_depth(text.encode()),
        [Text('"', '\\"'), Text("", "["), Text("", '"\\'), Text('"', "a")],
    ),
    "hide_secrets": (
        redaction.hide_secrets,
        [Text("", "a-"), Text("", "api-"), Text("", "a."), Text("", "token="), Text("", "://a@"), Text('x="', '\\"')],
    ),
    "clean_text": (
        lambda text: redaction.clean_text(text, limit=10**6, keep_lines=True),
        [Text("", "\n"), Text("", "a-")],
    ),
    "clean": (lambda text: redaction.clean({text: text}), [Text("", "a-"), Text("", "token_")]),
    "hide_login": (redaction.hide_login, [Text("http://", "@"), Text("", "://"), Text("", "a@")]),
    "find_fault": (
        admin_key.find_fault,
        [Text("bcdefghij", "1234567890"), Text("", "1234567890", "bcdefghij"), Text("", "x")],
    ),
    "parse of a key": (keys.parse, [Text("mm_aaaaaaaa_", "a"), Text("", "mm_")]),
    "caller_address": (
        lambda text: caller_address("127.0.0.1", text),
        [Text("", "127.0.0.1,"), Text("", ","), Text("", "1")],
    ),
    "accepts_gzip": (accepts_gzip, [Text("", ",gzip;q=0."), Text("gzip", " ")]),
    "_query_problem": (middleware._query_problem, [Text("", "a=%00&"), Text("a=", "%00"), Text("", "&")]),
}

# Tried on every pattern behind what it begins with.
USUAL = [
    Text("", again, "!\n") for again in (*'a0/.-_ "\\,:=@%', "a-", "a/", "/a", "0/", " ,", "a.", "aA", '="', '\\"')
]


# --- measuring ------------------------------------------------------------------------------------------------------


def cost(call: Callable[[], object]) -> float:
    """CPU time of this thread in seconds, the least of three."""
    found = []
    for _ in range(3):
        started = time.thread_time()
        call()
        found.append(time.thread_time() - started)
        if not TOO_SHORT_TO_MEASURE / 20 < found[-1] < 0.5:  # either way the verdict is clear
            break
    return min(found)


def too_slow(call: Callable[[str], object], text: Text) -> str:
    """What it costs, when that grows faster than the text in each of five tries; else empty.

    A busy machine makes one try slow by chance; what is quadratic is slow in all.
    """
    found = ""
    for _ in range(5):
        found = grows_too_fast(call, text)
        if not found:
            break
    return found


def grows_too_fast(call: Callable[[str], object], text: Text) -> str:
    """What it costs, when that grew faster than the text in this try; else empty."""
    long = cost(lambda: call(text.of(SHORT * TIMES)))
    if long < TOO_SHORT_TO_MEASURE:
        return ""
    short = cost(lambda: call(text.of(SHORT)))
    if long <= short * MAY_COST:
        return ""
    return f"{text}: {short * 1000:.2f} ms, and {long * 1000:.0f} ms for {TIMES} times the text"


def scan(pattern: Pattern) -> Callable[[str], object]:
    """In every way that a pattern can be used."""

    def used(text: str) -> None:
        subject: Any = text.encode() if isinstance(pattern.pattern, bytes) else text
        for _ in pattern.finditer(subject):
            pass
        pattern.match(subject)
        pattern.fullmatch(subject)

    return used


def beginning(pattern: Pattern) -> str:
    """The letters before the first that means something else."""
    source = pattern.pattern.decode() if isinstance(pattern.pattern, bytes) else pattern.pattern
    found = re.match(r"\^?((?:[\w/ .:=-]|\\[-/.])*)", source)
    return found[1].replace("\\", "") if found else ""


def test_every_pattern_has_its_worst_texts() -> None:
    assert patterns().keys() - WORST.keys() == set()
    assert WORST.keys() - patterns().keys() == set()


def test_no_strangers_text_becomes_a_pattern() -> None:
    found = set()
    for name in module_names():
        tree = ast.parse(Path(str(importlib.import_module(name).__file__)).read_text())
        inside = [
            node
            for each in ast.walk(tree)
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            for node in _calls_of_re(each)
        ]
        found |= {name for _, argument in inside if not isinstance(argument, ast.Constant)}
    # The sandbox's routes are its own words.
    assert found - {"sandbox.venues.base"} == FROM_ELSEWHERE.keys()


def test_what_is_not_imported_has_no_patterns() -> None:
    for name in NOT_IMPORTED:
        tree = ast.parse((PROJECT_DIR / f"{name.replace('.', '/')}.py").read_text())
        assert list(_calls_of_re(tree)) == []


@pytest.mark.parametrize("name", sorted(WORST))
def test_patterns_take_linear_time(name: str) -> None:
    pattern = patterns()[name]
    usual = [Text(beginning(pattern) + text.begin, text.again, text.end) for text in USUAL]

    assert [slow for text in [*WORST[name], *usual] if (slow := too_slow(scan(pattern), text))] == []


def test_url_patterns_take_linear_time() -> None:
    slow = []
    for pattern in url_patterns().values():
        for text in USUAL:
            found = too_slow(scan(pattern), Text(beginning(pattern) + text.begin, text.again, text.end))
            slow += [f"{pattern.pattern}: {found}"] if found else []
    assert slow == []


@pytest.mark.parametrize("name", sorted(READERS))
def test_readers_of_strangers_texts_take_linear_time(name: str, settings: Any) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.0/8"]
    call, texts = READERS[name]

    assert [slow for text in texts if (slow := too_slow(call, text))] == []


def test_a_quadratic_pattern_would_be_found() -> None:
    """The old pattern of logins in URLs."""
    quadratic = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+@", re.IGNORECASE)

    assert grows_too_fast(scan(quadratic), Text("", "a."))


def test_source_files_are_where_they_are_looked_for() -> None:
    assert all((Path(PROJECT_DIR) / package).is_dir() for package in PACKAGES)
    assert len(patterns()) > 40
