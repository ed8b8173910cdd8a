"""Each setting is read by the table, and refused by it: by name, with its value and what is allowed."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection

from lib import environment
from lib.environment import (
    CHOICE,
    JSON_OBJECT,
    MAPPING,
    NUMBER,
    SWITCH,
    WEB_ADDRESS,
    WHOLE,
    Combination,
    Setting,
    WrongValue,
)  # fmt: skip
from lib.server_addresses import POSTGRES_ADDRESS, VALKEY_ADDRESS, with_password
from lib.valkey import broker_url
from marketmon import checks, settings_table
from marketmon.retired_settings import RETIRED, Retired, in_words, still_set
from marketmon.settings_table import COMBINATIONS, TABLE, WrongSettings

PROJECT = Path(__file__).resolve().parent.parent
BY_NAME = {setting.name: setting for setting in TABLE}
NUMBERS = [setting for setting in TABLE if setting.kind in (WHOLE, NUMBER)]
WITHOUT_MEANING = {
    SWITCH: ["maybe", "2", "", "yess", "да"],
    WHOLE: ["", "many", "1.5", "²", "\u0661", "nan", "1e2"],
    NUMBER: ["", "many", "²", "nan", "inf", "-inf", "1,5"],
    CHOICE: ["", "LOUD"],
    MAPPING: ["secret", "=secret", "1=a,b"],
    JSON_OBJECT: ["", "[1]", "trend_limit=1", '"text"'],
    WEB_ADDRESS: ["127.0.0.1:9100", "ftp://x", "http://"],
    POSTGRES_ADDRESS: ["mysql://u@h/d", "postgres://u@h", "nonsense", "postgres://u@h/d?nonsense=1", "postgres://u:p/w@h/d"],
    VALKEY_ADDRESS: ["valkey", "http://h/0", "redis://h/zero", "redis://h/0?nonsense=1", "redis://:a#b@h/0"],
}  # fmt: skip
# What was found to be accepted once: `manage.py check` saw no issue in any of them.
ACCEPTED_ONCE = {
    "BREAKER_FAILURES": "0",
    "STREAM_LEASE_SECONDS": "-5",
    "MIN_SHARE_OF_USUAL_ROWS": "50",
    "POLL_DEADLINE_SECONDS": "100",
    "RAW_RETENTION_HOURS": "0",
    "PULSE_SECONDS": "0",
}


def named(setting: Setting) -> str:
    return setting.name


def read(name: str, text: str) -> Any:
    return environment.value_of(BY_NAME[name], {name: text})


def fault_of(setting: Setting, text: str) -> str:
    with pytest.raises(WrongValue) as refused:
        environment.value_of(setting, {setting.name: text})
    return str(refused.value)


def run_manage(command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", command],
        cwd=PROJECT, env={**os.environ, **environ}, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip


# --- numbers: the edges of the table ----------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", NUMBERS, ids=named)
def test_a_number_has_a_least_a_most_and_a_default_between(setting: Setting) -> None:
    assert setting.least is not None
    assert setting.most is not None
    assert setting.default is None or setting.least <= setting.default <= setting.most


@pytest.mark.parametrize("setting", NUMBERS, ids=named)
def test_the_least_and_the_most_are_allowed(setting: Setting) -> None:
    for edge in (setting.least, setting.most):
        assert environment.value_of(setting, {setting.name: str(edge)}) == edge


@pytest.mark.parametrize("setting", NUMBERS, ids=named)
def test_less_than_the_least_and_more_than_the_most_are_refused(setting: Setting) -> None:
    assert setting.least is not None
    assert setting.most is not None
    step = 1 if setting.kind is WHOLE else 1e-6
    for beyond in (setting.least - step, setting.most + step):
        text = str(beyond)
        assert fault_of(setting, text) == f"{setting.name}={text}: must be {setting.allowed}"
        assert f"from {environment.number(setting.least)} to {environment.number(setting.most)}" in setting.allowed


@pytest.mark.parametrize(("name", "text"), ACCEPTED_ONCE.items())
def test_what_was_accepted_once_is_refused(name: str, text: str) -> None:
    with pytest.raises(WrongSettings, match=rf"(?s)^A setting is wrong.* {name}={text}: must be a "):
        settings_table.read({name: text})


# --- kinds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", [each for each in TABLE if each.kind in WITHOUT_MEANING], ids=named)
def test_a_text_that_means_nothing_is_refused(setting: Setting) -> None:
    for text in WITHOUT_MEANING[setting.kind]:
        if text or not setting.kind.is_default_when_empty:
            assert fault_of(setting, text).endswith(f": must be {setting.allowed}")


@pytest.mark.parametrize(
    ("text", "value"),
    [*((word, True) for word in ("1", "true", "TRUE", "yes", "on", " On ")),
     *((word, False) for word in ("0", "false", "no", "NO", "off", " off"))],
)  # fmt: skip
def test_the_usual_words_switch(text: str, value: bool) -> None:
    assert read("USE_TLS", text) is value


def test_blanks_around_values_and_items_do_not_count() -> None:
    assert read("POLL_INTERVAL_SECONDS", " 20 ") == 20.0
    assert read("ALLOWED_HOSTS", " a.example , b.example,, ") == ["a.example", "b.example"]
    assert read("LOG_LEVEL", " warning") == "WARNING"


def test_an_empty_list_is_one_without_items_and_an_empty_address_the_default() -> None:
    assert read("METRICS_MARKETS", "") == []
    assert read("SANDBOX_URL", "") == ""
    assert read("REDIS_URL", "") == "redis://localhost:6379/0"


def test_what_is_not_set_is_the_default() -> None:
    values = settings_table.read({})

    assert values == {setting.name: setting.default for setting in TABLE}


def test_every_setting_is_read_by_somebody() -> None:
    """A row of the table that nobody reads would be a promise without effect."""
    text = "".join((PROJECT / "marketmon" / name).read_text() for name in ("settings.py", "sign_in/configuration.py"))
    read_there = set(re.findall(r"""value\[["']([A-Z0-9_]+)["']\]""", text))
    elsewhere = {
        "MARKETMON_HOME", "PORT", "SANDBOX", "WORKER_CONCURRENCY",  # by the supervisor
        "SANDBOX_MARKETS",  # by the sandbox
        "ADMIN_USERNAME", "ADMIN_PASSWORD",  # by `manage.py prepare`
    }  # fmt: skip
    assert read_there | elsewhere == set(BY_NAME)


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["$let-me-in", "$HOME", " with blanks ", 'quo"tes', "a=b,c", "%40"])
def test_a_secret_is_taken_as_it_is(secret: str) -> None:
    """One that begins with `$` was read as the name of another variable, and opened the webhook."""
    assert read("METRICS_WEBHOOK_TOKEN", secret) == secret
    assert read("SECRET_KEY", secret) == secret


def test_an_empty_token_does_not_open_the_webhook() -> None:
    with pytest.raises(WrongSettings, match="METRICS_WEBHOOK_TOKEN is set but empty: the webhook would be open"):
        settings_table.read({"METRICS_WEBHOOK_TOKEN": ""})
    assert settings_table.read({})["METRICS_WEBHOOK_TOKEN"] == ""


@pytest.mark.parametrize("name", [setting.name for setting in TABLE if setting.is_secret])
def test_a_secret_can_be_in_a_file(name: str, tmp_path: Path) -> None:
    text = {
        "DATABASE_URL": "postgres://u:geheim@h/d", "REDIS_URL": "redis://:geheim@h/0", "API_KEY_PEPPERS": "1= geheim"
    }.get(name, "$geheim ")  # fmt: skip
    (tmp_path / "secret").write_text(f"{text}\n")

    value = environment.value_of(BY_NAME[name], {f"{name}_FILE": str(tmp_path / "secret")})

    assert value == read(name, text)


def test_the_page_names_every_secret_that_a_file_may_hold() -> None:
    page = (PROJECT / "docs/settings.md").read_text().partition("## Where and who")[0]
    assert {setting.name for setting in TABLE if setting.is_secret and setting.name not in page} == set()


def test_a_secret_that_is_set_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongSettings, match="SECRET_KEY and SECRET_KEY_FILE are both set"):
        settings_table.read({"SECRET_KEY": "a", "SECRET_KEY_FILE": str(tmp_path / "secret")})


def test_a_secrets_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(WrongSettings, match=r"SECRET_KEY_FILE=/nonexistent: .* No such file"):
        settings_table.read({"SECRET_KEY_FILE": "/nonexistent"})
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    with pytest.raises(WrongSettings, match="the file cannot be read: it is no text"):
        settings_table.read({"SECRET_KEY_FILE": str(tmp_path / "secret")})


@pytest.mark.parametrize("text", ["", "  ", "\n"])
@pytest.mark.parametrize(
    "name",
    ["SECRET_KEY", "SECRET_KEY_FALLBACKS", "ADMIN_API_KEY", "CREDENTIALS_KEY", "API_KEY_PEPPERS", "DATABASE_PASSWORD"],
)
def test_a_secret_that_is_set_to_nothing_is_refused(name: str, text: str) -> None:
    """Its default would be taken without a word: another key, or none."""
    with pytest.raises(WrongSettings, match=f"{name} is set but empty: give it a value, or leave the variable out"):
        settings_table.read({name: text})


def test_earlier_keys_have_commas_or_lines_between() -> None:
    assert read("SECRET_KEY_FALLBACKS", "$one, t=wo\nthree\n") == ["$one", "t=wo", "three"]


def test_an_empty_file_is_an_empty_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(WrongSettings, match="METRICS_WEBHOOK_TOKEN is set but empty"):
        settings_table.read({"METRICS_WEBHOOK_TOKEN_FILE": str(tmp_path / "secret")})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DATABASE_URL", "postgres://user:geheim@host:port/geheim"),
        ("DATABASE_URL", "postgres://user:geheim@host/db?geheim=geheim"),
        ("REDIS_URL", "redis://user:geheim@host:port/0"),
        ("REDIS_URL", "redis://:ge/geheim@host/0"),
        ("API_KEY_PEPPERS", "geheim"),
    ],
)
def test_a_refused_secret_is_not_shown(name: str, text: str) -> None:
    fault = fault_of(BY_NAME[name], text)

    assert "geheim" not in fault
    assert fault.startswith(f"{name} (its value is not shown): must be ")


# --- servers ----------------------------------------------------------------------------------------------------------

HARD_PASSWORD = "p@s/s:w#o?r%d+ &=ä'\"[]"
ENCODED = "p%40s%2Fs%3Aw%23o%3Fr%25d%2B%20%26%3D%C3%A4%27%22%5B%5D"


def test_an_encoded_password_is_any_password() -> None:
    database = read("DATABASE_URL", f"postgres://me:{ENCODED}@db.example:5433/market%20mon?sslmode=require")
    assert database == {
        "ENGINE": "lib.database",
        "NAME": "market mon",
        "USER": "me",
        "PASSWORD": HARD_PASSWORD,
        "HOST": "db.example",
        "PORT": "5433",
        "OPTIONS": {"sslmode": "require"},
    }
    url = read("REDIS_URL", f"redis://:{ENCODED}@cache.example:6380/3")
    assert redis.Redis.from_url(url).get_connection_kwargs()["password"] == HARD_PASSWORD
    assert Connection(broker_url(url)).password == HARD_PASSWORD


@pytest.mark.parametrize(
    ("password", "meant"), [("a+b", "a+b"), ("a@b", "a@b"), ("a:b", "a:b"), ("$x", "$x"), ("12", "12")]
)
def test_a_password_that_is_not_encoded_is_meant_as_it_stands_where_that_can_be_told(password: str, meant: str) -> None:
    """A plus, as base64 has it, was read as a blank."""
    assert read("DATABASE_URL", f"postgres://me:{password}@h/d")["PASSWORD"] == meant


@pytest.mark.parametrize(
    "password", ["p@ss", "pa#ss", "pa/ss", "pa?ss", "pa%41ss", "pa:ss", "pa+ss", "$pass", " p ss", HARD_PASSWORD]
)
def test_a_password_of_its_own_is_any_password(password: str) -> None:
    """Compose gives both servers' passwords so: put into an address, some of these were read as something else."""
    assert read("DATABASE_PASSWORD", password) == password
    for address in ("redis://h:6380/3", "redis://:old@h:6380/3", "rediss://me:o%40ld@h:6380/3"):
        url = with_password(address, password)
        assert redis.Redis.from_url(url).get_connection_kwargs()["password"] == password
        assert Connection(broker_url(url)).password == password
        assert url.endswith("@h:6380/3")


def test_passwords_of_their_own_are_used() -> None:
    kept = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "marketmon.settings",
        "MARKETMON_HOME": "/nonexistent",
    }
    environ = {"DATABASE_URL": "postgres://me:old@h/d", "REDIS_URL": "redis://h", "SECRET_KEY": "x"}
    environ |= {"DATABASE_PASSWORD": HARD_PASSWORD, "REDIS_PASSWORD": HARD_PASSWORD}
    code = "from django.conf import settings as s; print(repr((s.DATABASES['default']['PASSWORD'], s.REDIS_URL)))"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=kept | environ, capture_output=True, text=True, check=True
    )

    password, url = ast.literal_eval(done.stdout)
    assert (password, Connection(url).password) == (HARD_PASSWORD, HARD_PASSWORD)


def test_a_password_of_its_own_reaches_a_socket_too() -> None:
    url = with_password("unix:///run/valkey.sock?db=2", "p@s/s")

    assert redis.Redis.from_url(url).get_connection_kwargs()["password"] == "p@s/s"
    assert redis.Redis.from_url(url).get_connection_kwargs()["db"] == 2


def test_a_socket_is_an_address_too() -> None:
    database = read("DATABASE_URL", "postgresql://me@/marketmon?host=/run/pg")
    assert (database["HOST"], database["PORT"], database["NAME"]) == ("/run/pg", "", "marketmon")
    assert read("REDIS_URL", "unix:///run/valkey.sock?db=2") == "unix:///run/valkey.sock?db=2"


# --- combinations -----------------------------------------------------------------------------------------------------


def combined(*names: str) -> Combination:
    (found,) = [each for each in COMBINATIONS if each.names == names]
    return found


@pytest.mark.parametrize(
    ("names", "sound", "wrong"),
    [
        (("POLL_DEADLINE_SECONDS", "POLL_INTERVAL_SECONDS"), (9.9, 10.0), (10.0, 10.0)),
        (
            ("POLL_DEADLINE_SECONDS", "MARKETS_DEADLINE_SECONDS", "TASK_SOFT_TIME_LIMIT_SECONDS"),
            (9.9, 20.0, 30), (10.0, 20.0, 30),
        ),
        (("RAW_RETENTION_HOURS", "RAW_RETENTION_MOST_HOURS"), (168, 168), (169, 168)),
        (("STREAM_FLUSH_SECONDS", "STREAM_SILENCE_SECONDS", "STREAM_LEASE_SECONDS"), (1.9, 2.0, 9.0), (2.0, 2.0, 9.0)),
        (("STREAM_FLUSH_SECONDS", "STREAM_SILENCE_SECONDS", "STREAM_LEASE_SECONDS"), (1.9, 9.0, 2.0), (2.0, 9.0, 2.0)),
        (("STREAM_PING_SECONDS",), (0.0,), (0.1,)),
        (("STREAM_PING_SECONDS",), (0.5,), (0.49,)),
        (("PULSE_SECONDS", "STATUS_BODY_MAX_AGE_SECONDS"), (1.9, 2.0), (2.0, 2.0)),
        (("PULSE_SECONDS", "STATUS_BODY_MAX_AGE_SECONDS"), (2.0, 0.0), (2.0, 1.0)),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(names: tuple[str, ...], sound: Any, wrong: Any) -> None:
    combination = combined(*names)

    assert combination.fault(dict(zip(names, sound, strict=True))) == ""
    fault = combination.fault(dict(zip(names, wrong, strict=True)))
    assert all(f"{name}={environment.number(value)}" in fault for name, value in zip(names, wrong, strict=True))
    assert fault.endswith(combination.sentence)


def test_each_combination_is_of_settings_and_holds_by_default() -> None:
    for combination in COMBINATIONS:
        assert combination.fault({name: BY_NAME[name].default for name in combination.names}) == ""


def test_a_combination_is_judged_only_where_its_settings_are_sound() -> None:
    with pytest.raises(WrongSettings) as refused:
        settings_table.read({"POLL_DEADLINE_SECONDS": "100", "POLL_INTERVAL_SECONDS": "5"})
    assert "interval" not in str(refused.value)


# --- retired names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retired", RETIRED, ids=lambda retired: retired.name)
def test_a_retired_name_says_where_its_constant_is(retired: Retired) -> None:
    module, _, name = retired.place.rpartition(".")
    assert getattr(importlib.import_module(module), name) == retired.value
    assert retired.name not in BY_NAME


def test_a_retired_name_that_is_still_set_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_retired_settings() == []
    monkeypatch.setenv("THROTTLE_PAUSE_SECONDS", "45")

    (warning,) = checks.check_retired_settings()

    assert (warning.id, warning.is_serious()) == ("marketmon.W001", False)
    assert warning.msg.startswith("THROTTLE_PAUSE_SECONDS=45 is no longer a setting and has no effect: it is 30 (")


def test_a_retired_share_is_shown_as_it_is() -> None:
    (found,) = still_set({"RATE_OUTLIER_SHARE": "0.2"})
    assert "RATE_OUTLIER_SHARE=0.2 " in in_words(*found)
    assert "it is 0.05 (" in in_words(*found)


# --- processes --------------------------------------------------------------------------------------------------------


def test_check_names_all_that_is_wrong_at_once() -> None:
    done = run_manage("check", **ACCEPTED_ONCE, METRICS_WEBHOOK_TOKEN="")

    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert lines[0] == "7 settings are wrong, and nothing is started (docs/settings.md explains each):"
    for name, text in ACCEPTED_ONCE.items():
        assert f"  {name}={text}: must be {BY_NAME[name].allowed}" in lines
    assert len(lines) == 8  # and no traceback


@pytest.mark.parametrize("command", ["up", "prepare", "pulse"])
def test_no_command_starts_with_a_wrong_setting(command: str) -> None:
    done = run_manage(command, BREAKER_FAILURES="0", DATABASE_URL="postgres://nobody@127.0.0.1:1/nothing")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[1:] == ["  BREAKER_FAILURES=0: must be a whole number from 1 to 100"]


@pytest.mark.parametrize("module", ["marketmon.wsgi", "marketmon.celery; marketmon.celery.app.conf.timezone"])
def test_neither_web_nor_celery_starts_with_a_wrong_setting(module: str) -> None:
    """They run no system checks: reading the settings refuses."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        cwd=PROJECT, env={**os.environ, "BREAKER_FAILURES": "0"},
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("BREAKER_FAILURES=0: must be a whole number from 1 to 100")


def test_settings_shows_what_is_in_effect_and_no_secret() -> None:
    done = run_manage("settings", BREAKER_FAILURES="5", METRICS_WEBHOOK_TOKEN="geheim", PUBLIC_STATUS="no")

    lines = done.stdout.splitlines()
    assert {"BREAKER_FAILURES: 5", "PUBLIC_STATUS: off", "POLL_DEADLINE_SECONDS: 8"} <= set(lines)
    assert "METRICS_WEBHOOK_TOKEN: (set, not shown)" in lines
    assert not any(secret in done.stdout for secret in ("geheim", os.environ["SECRET_KEY"]))
    assert len(lines) == len(TABLE)


def test_an_empty_sandbox_address_never_means_the_real_exchanges() -> None:
    """It did once: `{SANDBOX_URL}` became nothing, and simulated exchanges were asked for at their real addresses."""
    code = (
        "import django; django.setup()\n"
        "from exchanges.models import SANDBOX_PLACEHOLDER, Exchange\n"
        "print(Exchange(id='kraken', base_url=SANDBOX_PLACEHOLDER).feed_spec().base_url)"
    )
    environ = {
        **os.environ,
        "SANDBOX_URL": "",
        "SANDBOX_PORT": "9123",
        "DJANGO_SETTINGS_MODULE": "marketmon.settings",
    }

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environ, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "http://127.0.0.1:9123"


def _hsts(**environ: str) -> str:
    code = (
        "from django.conf import settings as s\n"
        "print(s.SECURE_HSTS_SECONDS, s.SECURE_HSTS_INCLUDE_SUBDOMAINS, s.SECURE_HSTS_PRELOAD)"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "marketmon.settings", **environ}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_tls_binds_no_other_host_unasked() -> None:
    assert _hsts(USE_TLS="1") == "31536000 False False"


def test_other_hosts_are_bound_when_somebody_says_so() -> None:
    assert _hsts(USE_TLS="1", HSTS_SUBDOMAINS="1", HSTS_PRELOAD="1") == "31536000 True True"


def test_without_tls_nobody_is_bound() -> None:
    assert _hsts(USE_TLS="0", HSTS_SUBDOMAINS="1") == "0 False False"
