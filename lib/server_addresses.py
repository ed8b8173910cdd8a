"""The addresses of PostgreSQL and Valkey, read by the libraries that will connect to them.

Nothing here repeats an address or a library's words about it: both hold the password.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg2
import redis
from psycopg2.extensions import parse_dsn

from lib.environment import Setting, ValueKind

POSTGRES_ENGINE = "lib.database"
POSTGRES = re.compile(r"(postgres(?:ql)?://)([^/?]*)(/[^?@]*)?(\?.*)?")
NAMED_BY_DJANGO = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
POSTGRES_FORM = (
    "an address like postgres://user:password@host:5432/database, with what is special in the password "
    "percent-encoded (%40 for @, %25 for %)"
)
VALKEY_FORM = (
    "an address like redis://:password@host:6379/0, rediss://… (valkey://… and valkeys://… are the same) or "
    "unix:///path?db=0, with what is special in the password percent-encoded (%2F for /, %23 for #); sentinels and "
    "clusters cannot be used"
)
VALKEY_SCHEMES = {"valkey": "redis", "valkeys": "rediss"}
CERTIFICATE_WORDS = {"cert_required": "required", "cert_optional": "optional", "cert_none": "none"}  # Celery's
# What libpq takes from the environment where an address says nothing.
LIBPQ_WORDS = """
HOST HOSTADDR PORT DATABASE USER PASSWORD PASSFILE REQUIREAUTH CHANNELBINDING SERVICE SERVICEFILE OPTIONS APPNAME
SSLMODE REQUIRESSL SSLNEGOTIATION SSLCOMPRESSION SSLCERT SSLKEY SSLCERTMODE SSLROOTCERT SSLCRL SSLCRLDIR SSLSNI
REQUIREPEER SSLMINPROTOCOLVERSION SSLMAXPROTOCOLVERSION MINPROTOCOLVERSION MAXPROTOCOLVERSION GSSENCMODE KRBSRVNAME
GSSLIB GSSDELEGATION CONNECT_TIMEOUT CLIENTENCODING TARGETSESSIONATTRS LOADBALANCEHOSTS DATESTYLE TZ GEQO SYSCONFDIR
LOCALEDIR
"""
LIBPQ_NAMES = frozenset(f"PG{word}" for word in LIBPQ_WORDS.split())

names_without_effect: list[str] = []  # that were in this process's environment


def forget_libpq_names(environ: MutableMapping[str, str] | None = None) -> None:
    """Takes libpq's own names out of the environment: a PGPORT meant for psql would lead us to another server."""
    environ = os.environ if environ is None else environ
    for name in sorted(LIBPQ_NAMES & set(environ)):
        del environ[name]
        if environ is os.environ:
            names_without_effect.append(name)


def read_postgres(setting: Setting, text: str) -> dict[str, Any]:
    """Returns Django's words for what libpq reads in the address; other parameters, such as sslmode, are options."""
    parts = POSTGRES.fullmatch(text)
    if parts is None:
        raise ValueError
    scheme, place, path, query = parts.groups("")
    user, separator, hosts = place.rpartition("@")  # libpq would end the password at its first @
    try:
        found = parse_dsn(scheme + user.replace("@", "%40") + separator + hosts + path + query)
    except psycopg2.Error:
        raise ValueError from None
    if not found.get("dbname") or not re.fullmatch(r"[\d,]*", found.get("port", ""), re.ASCII):
        raise ValueError
    named = {theirs: str(found.pop(ours, "")) for ours, theirs in NAMED_BY_DJANGO.items()}
    return {"ENGINE": POSTGRES_ENGINE, **named, "OPTIONS": found}


def read_valkey(setting: Setting, text: str) -> str:
    """Returns the address as both clients take it, once a connection can be made of it (none is opened).

    Raises ValueError.
    """
    text = _in_common_words(text)
    parts = urlsplit(text)
    if parts.fragment or (parts.scheme != "unix" and not re.fullmatch(r"/?\d*", parts.path, re.ASCII)):
        raise ValueError
    try:
        redis.ConnectionPool.from_url(text).make_connection()
    except (TypeError, redis.RedisError):  # a parameter that no connection has, or a word that it does not know
        raise ValueError from None
    return text


def with_password(address: str, password: str) -> str:
    """Returns Valkey's address with this password, whatever signs are in it, instead of the one that it has."""
    parts = urlsplit(address)
    user, _, host = parts.netloc.rpartition("@")
    login = f"{user.partition(':')[0]}:{quote(password, safe='')}"
    if parts.scheme == "unix":  # which has no place for one but a parameter
        return f"{address}{'&' if parts.query else '?'}password={quote(password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{login}@{host}"))


def _in_common_words(text: str) -> str:
    """Returns the address with names and words that mean the same to Celery's client and to ours."""
    scheme, separator, rest = text.partition("://")
    place, question, query = rest.partition("?")
    words = dict(parse_qsl(query, keep_blank_values=True))
    if "ssl_cert_reqs" in words:
        wanted = words["ssl_cert_reqs"].lower()
        words["ssl_cert_reqs"] = CERTIFICATE_WORDS.get(wanted, wanted)
        query = urlencode(words)
    return f"{VALKEY_SCHEMES.get(scheme, scheme)}{separator}{place}{question}{query}"


POSTGRES_ADDRESS = ValueKind(read_postgres, lambda _: POSTGRES_FORM, is_default_when_empty=True)
VALKEY_ADDRESS = ValueKind(read_valkey, lambda _: VALKEY_FORM, is_default_when_empty=True)
