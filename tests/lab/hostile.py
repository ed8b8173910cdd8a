"""Requests that strangers send to make an answer dear: bodies, queries, paths, cookies and headers of 64 KB to 3 MB."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field

KB = 1024
JSON, FORM, PARTS = "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
LONG = 60 * KB


@dataclass(frozen=True, slots=True)
class Hostile:
    """What is different from a harmless request: a body of some type, or what is added to the path or the headers."""

    name: str
    body: bytes = b""
    content_type: str = ""
    query: str = ""
    more_path: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return "POST" if self.body else "GET"


def filled(again: bytes, length: int = 64 * KB - 1, *, begin: bytes = b"", end: bytes = b"") -> bytes:
    return begin + again * ((length - len(begin) - len(end)) // len(again)) + end


def part(headers: bytes, content: bytes = b"x") -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="a"' + headers + b"\r\n\r\n" + content + b"\r\n--b--\r\n"


def json_bodies() -> Iterator[tuple[str, bytes]]:
    yield "a string that never ends", filled(b'\\"', begin=b'"')
    yield "open brackets", filled(b"[")
    yield "3 MB of open brackets", filled(b"[", 3 * KB * KB)
    yield "objects in objects", filled(b'{"a":')
    yield "arrays, closed", filled(b"[", 32 * KB) + filled(b"]", 32 * KB)
    yield "a long number", filled(b"9")
    yield "a long number in a field", filled(b"9", begin=b'{"market":"BTC/USDT","levels":', end=b"}")
    yield "a long fraction", filled(b"9", begin=b'{"lower_price":0.', end=b"}")
    yield "a long exponent", filled(b"9", begin=b'{"lower_price":1e', end=b"}")
    yield "halves of pairs", filled(b"\\ud800", begin=b'{"market":"', end=b'"}')
    yield "four bytes a sign", filled("\U0001f600".encode(), begin=b'{"market":"', end=b'"}')
    yield "signs that combine", filled("\u0301".encode(), begin=b'{"market":"A', end=b'"}')
    yield "ligatures that grow", filled("\ufdfa".encode(), begin=b'{"market":"', end=b'"}')
    yield "a long name", filled(b"A/", begin=b'{"market":"', end=b'"}')
    yield "many fields", b"{" + b",".join(b'"%d":0' % n for n in range(6000)) + b"}"
    yield "one field again and again", filled(b'"market":0,', begin=b"{", end=b'"a":0}')
    yield "many objects", filled(b"{},", begin=b"[", end=b"{}]")
    yield "a MB of blanks", filled(b" ", KB * KB)
    yield "no text", filled(b"\xff\xfe")
    yield "3 MB in a string", filled(b"a", 3 * KB * KB, begin=b'{"market":"', end=b'"}')


def other_bodies() -> Iterator[tuple[str, str, bytes]]:
    megabyte = KB * KB - 1
    yield "fields without value", FORM, filled(b"a&", megabyte)
    yield "fields", FORM, filled(b"a=1&", megabyte)
    yield "percents", FORM, filled(b"%41", megabyte, begin=b"username=")
    yield "half percents", FORM, filled(b"%", megabyte, begin=b"username=")
    yield "a long password", FORM, filled(b"a", megabyte, begin=b"username=admin&password=")
    yield "a long password that combines", FORM, filled(b"%EF%B7%BA", megabyte, begin=b"username=admin&password=")
    for charset in ("punycode", "idna", "utf-7", "unicode_escape", "utf-32", "cp932"):
        yield f"a form in {charset}", f"{FORM}; charset={charset}", filled(b"%C3%A9", megabyte, begin=b"a=")
        yield f"a JSON in {charset}", f"{JSON}; charset={charset}", filled(b"aZ-", begin=b'{"market":"', end=b'"}')
    yield "parts", PARTS, filled(part(b"").removesuffix(b"--b--\r\n"), megabyte, end=b"--b--\r\n")
    yield "a part's long header", PARTS, part(filled(b"; a=b", megabyte - 100))
    yield "a part's quotes", PARTS, part(filled(b'; a="\\"', megabyte - 100))
    yield "a part's semicolons", PARTS, part(filled(b";", megabyte - 100))
    yield "a part's headers", PARTS, part(filled(b"\r\na: b", megabyte - 100))
    yield "a part in base64", PARTS, part(b"\r\nContent-Transfer-Encoding: base64", filled(b"A \n", megabyte - 200))
    yield "no end of a part", PARTS, filled(b"\r\n-", megabyte, begin=b"--b\r\n")
    yield "a boundary that nearly comes", PARTS, filled(b"\r\n--a", megabyte, begin=b"--b\r\n")
    laughs = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 30))
    yield (
        "entities in entities",
        "text/xml",
        b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l0 "l">' + laughs + b"]><a>&l29;</a>",
    )
    yield "no type at all", "", filled(b"\x00")


def bodies() -> Iterator[Hostile]:
    for name, body in json_bodies():
        yield Hostile(f"JSON: {name}", body, JSON)
    for name, content_type, body in other_bodies():
        yield Hostile(f"body: {name}", body, content_type)
    packed = gzip.compress(bytes(100 * KB * KB))
    yield Hostile("body: 100 MB in gzip", packed, JSON, headers={"Content-Encoding": "gzip"})
    yield Hostile("body: type of many parameters", b"{}", "multipart/form-data; " + "a=b;" * (LONG // 4))
    yield Hostile("body: type of quotes", b"{}", 'multipart/form-data; boundary="' + '\\"' * (LONG // 2))


def queries() -> Iterator[Hostile]:
    for name, again in {
        "fields": "a=1&", "one field": "limit=1&", "percents": "%", "blanks": "+", "signs": "%F0%9F%98%80",
        "NULs": "a=%00&", "semicolons": ";", "equals": "=",
    }.items():  # fmt: skip
        yield Hostile(f"query: {name}", query=again * (LONG // len(again)))
    for field_name, again in {
        "limit": "9", "offset": "9", "from": "9", "to": "2026-", "cursor": "a:", "pairs": "BTC-USDT,", "symbol": "A/",
        "exchange": "a", "search": "%25", "q": "a+", "ordering": "-", "fields": "a,", "as_of": "T", "min_quality": "0.",
        "market": "BTC/USDT,", "include": "snapshot,", "format": "json", "next": "/", "timeframe": "1", "page": "9",
        "lookback": "1", "sources": "a,", "collection_id": "a-", "name[]": "a", "o": "1.", "e": "1", "p": "9",
    }.items():  # fmt: skip
        yield Hostile(f"query: {field_name}", query=f"{field_name}=" + again * (LONG // len(again)))


def paths() -> Iterator[Hostile]:
    for name, again in {
        "folders": "/a", "slashes": "/", "dots": "/..", "percents": "%25", "letters": "a", "digits": "9",
        "signs": "%F0%9F%98%80", "spaces": "%20", "names": "a-",
    }.items():  # fmt: skip
        yield Hostile(f"path: {name}", more_path=again * (LONG // len(again)))


def headers() -> Iterator[Hostile]:
    for name, again in {
        "Accept": "a/b;q=0.1,", "Accept-Encoding": ",gzip;q=0.", "Accept-Language": "en-a,", "If-None-Match": '"a",',
        "If-Modified-Since": "Mon, ", "Range": "bytes=0-,", "X-Forwarded-For": "1.1.1.1,", "Forwarded": "for=1;",
        "Authorization": "Bearer ", "Origin": "http://a.", "Referer": "http://a/", "User-Agent": "a (",
        "X-Correlation-ID": "a-", "X-API-Key": "mm_aaaaaaaa_", "X-Admin-Key": "a1", "X-Webhook-Token": "é",
        "X-CSRFToken": "a", "Sec-Fetch-Site": "cross-site,", "Idempotency-Key": "a-", "X-Forwarded-Host": "a,",
        "X-HTTP-Method-Override": "GET,", "HX-Request": "true,", "Last-Event-ID": "9",
    }.items():  # fmt: skip
        yield Hostile(f"header: {name}", headers={name: again * (LONG // len(again))})
    for name, value in {
        "many": "a=b; " * (LONG // 5), "quotes": 'a="' + '\\"' * (LONG // 2), "names": "=; " * (LONG // 3),
        "octals": 'a="' + "\\012" * (LONG // 4) + '"', "session": "sessionid=" + "a" * LONG,
        "token": "csrftoken=" + "a" * LONG, "messages": "messages=" + "W1s" * (LONG // 3), "semicolons": ";" * LONG,
    }.items():  # fmt: skip
        yield Hostile(f"cookie: {name}", headers={"Cookie": value})
    yield Hostile("headers: ninety", headers={f"X-{n}": "a" * 600 for n in range(90)})


def everything() -> list[Hostile]:
    return [*bodies(), *queries(), *paths(), *headers()]
