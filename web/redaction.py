"""Secrets kept out of logs: a logging filter over messages, event dictionaries and tracebacks."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings

HIDDEN = "***"
VALUE_CHARACTERS = 500  # an exchange's answer may be a megabyte
TRACEBACK_CHARACTERS = 10_000
DEPTH = 6
LONG_KEYS = frozenset({"exception", "stack", "stack_info"})
WIRING = frozenset({"_record", "_from_structlog", "_logger", "_name", "exc_info"})

# No pattern here may take more than linear time over any text (tests/test_linear_time.py): a name is looked for where
# it begins and not with the words before it, and what is repeated is never given back (`*+`).
_SEPARATOR = r"(?:[-_ ]|%2d|%5f)?"
_NAME = (
    rf"(?:api{_SEPARATOR}key|admin{_SEPARATOR}key|private{_SEPARATOR}key|access{_SEPARATOR}key"
    r"|authorization|token|password|passwd|secret(?:[-_]key)?|cookie|sessionid|csrftoken)"
)
_NAME_BEGINS = r"(?:(?<![a-z])|(?<=%2d)|(?<=%5f))"
_QUOTED = r"""\\"(?:[^"\\]|\\[^"])*+\\"|b?"(?:[^"\\]|\\.)*+"|b?'(?:[^'\\]|\\.)*+'"""
_VALUE = _QUOTED + r"""|(?:(?:bearer|basic|token)\s++)?[^\s&,;"'}\])]++"""
_NAMED_SECRET = re.compile(
    rf"""({_NAME_BEGINS}{_NAME}\\?["']?\s*+(?:[:=]|%3d|',\s*+b?'|",\s*+b?")\s*+)({_VALUE})""", re.IGNORECASE
)
_SECRET_KEY = re.compile(rf"{_NAME_BEGINS}{_NAME}\Z", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer|basic)\s++[A-Za-z0-9._~+/=-]{8,}+", re.IGNORECASE)
# A key of ours wherever it turns up; its public id tells which one.
_OUR_KEY = re.compile(r"\b(mm_[a-z0-9]{8}_)[A-Za-z0-9_-]{16,}+")
# All before the last @ of what names the host: passwords hold signs that they should not, and a token may be all.
_URL_LOGIN = re.compile(r'(://)[^\s/?#"<>]*@')
# PostgreSQL quotes the row that it refuses: hashes of keys, sealed credentials. To the line's end that closes it.
_REFUSED_ROW = re.compile(r"(row contains \()(?:[^)]++|\)(?!\.?(?:\n|\Z)))*+", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class RedactSecrets(logging.Filter):
    """Rewrites every record on its way to a handler; drops none."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.msg, dict):
            record.msg = {key: value if key in WIRING else clean(value, key=key) for key, value in record.msg.items()}
            return True
        record.msg, record.args = clean_text(_message(record)), ()
        if record.exc_info:
            record.msg += "\n" + clean_text(_traceback(record), limit=TRACEBACK_CHARACTERS, keep_lines=True)
            record.exc_info = record.exc_text = None
        return True


def clean(value: object, *, key: str = "", depth: int = 0) -> Any:
    """Returns the value as it may be logged; containers are walked, unknown objects become text."""
    if key and _SECRET_KEY.search(key):
        return HIDDEN
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {clean_text(str(name)): clean(each, key=str(name), depth=depth + 1) for name, each in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes | bytearray):
        return [clean(each, depth=depth + 1) for each in value]
    if key in LONG_KEYS:
        return clean_text(str(value), limit=TRACEBACK_CHARACTERS, keep_lines=True)
    return clean_text(str(value))


def clean_text(text: str, *, limit: int = VALUE_CHARACTERS, keep_lines: bool = False) -> str:
    """Returns the text with secrets hidden and control characters escaped, cut at `limit`."""
    text = hide_secrets(text[: limit * 4])
    text = _CONTROL.sub(lambda match: "\n" if keep_lines and match[0] == "\n" else _escaped(match[0]), text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def hide_secrets(text: str) -> str:
    for secret in (settings.ADMIN_API_KEY, settings.SECRET_KEY, settings.METRICS_WEBHOOK_TOKEN):
        if len(secret) >= 8:
            text = text.replace(secret, HIDDEN)
    text = _REFUSED_ROW.sub(rf"\1{HIDDEN}", text)
    text = _OUR_KEY.sub(rf"\1{HIDDEN}", text)
    text = _URL_LOGIN.sub(rf"\1{HIDDEN}@", text)
    text = _NAMED_SECRET.sub(rf"\1{HIDDEN}", text)
    return _BEARER.sub(rf"\1 {HIDDEN}", text)


def hide_named(name: str, text: str) -> str:
    """Returns the value of an exchange's setting as it may be shown."""
    return hide_login(text) if name == "proxy" else hide_secrets(text)


def hide_login(address: str) -> str:
    """Returns a proxy's address without user and password, however they are written: all before its last @."""
    login, at, host = address.rpartition("@")
    if not at:
        return address
    scheme, mark, _ = login.partition("://")
    return f"{scheme if mark else ''}{mark}{HIDDEN}@{host}"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # a third party's broken format string is no reason to lose the line
        return f"{record.msg} {record.args}"


def _traceback(record: logging.LogRecord) -> str:
    if isinstance(record.exc_info, tuple):
        return "".join(traceback.format_exception(*record.exc_info))
    return str(record.exc_info)
