"""What `up` believes, and what it hands to the processes."""

from pathlib import Path

import pytest

from embedded.lock import RefusedError
from embedded.postgres import Postgres
from embedded.screen import running
from embedded.settings import application_specs, childrens_environment, read_settings
from embedded.site import Site
from lib.home import ensure_secrets, read_env_file, write_runtime

URLS = {"DATABASE_URL": "postgres://embedded", "REDIS_URL": "unix:///embedded"}


def test_defaults_fit_a_laptop(tmp_path: Path) -> None:
    settings = read_settings({"MARKETMON_HOME": str(tmp_path)}, with_sandbox=True)
    assert (settings.port, settings.sandbox_port, settings.concurrency) == (8000, 9100, 6)
    assert settings.url == "http://127.0.0.1:8000"


@pytest.mark.parametrize("word", ["off", "OFF", "0", "no", "false"])
def test_the_sandbox_can_be_left_out(tmp_path: Path, word: str) -> None:
    environ = {"MARKETMON_HOME": str(tmp_path)}
    assert read_settings({**environ, "SANDBOX": word}, with_sandbox=True).sandbox_port is None
    assert read_settings(environ, with_sandbox=False).sandbox_port is None
    assert read_settings({**environ, "SANDBOX": "on"}, with_sandbox=True).sandbox_port == 9100


def test_what_the_last_run_wrote_is_not_taken_for_a_server_of_the_callers(tmp_path: Path) -> None:
    write_runtime(tmp_path, URLS)
    assert read_settings({"MARKETMON_HOME": str(tmp_path)}, with_sandbox=True).servers == {}


def test_another_database_of_the_callers_shell_is_not_asked(tmp_path: Path) -> None:
    """PGPORT=6000 make run ended with a socket that nobody had made."""
    callers = {"MARKETMON_HOME": str(tmp_path), "PGPORT": "6000", "PGSERVICE": "work", "PATH": "/bin"}
    settings = read_settings(callers, with_sandbox=False)

    ours = childrens_environment(settings, URLS, first_run=False)
    theirs = childrens_environment(settings, {}, first_run=False)

    assert {"PGPORT", "PGSERVICE"}.isdisjoint(ours)
    assert (theirs["PGPORT"], ours["PATH"]) == ("6000", "/bin")
    assert Postgres(Site(tmp_path, tmp_path, None, None, None), tmp_path, {}).url.endswith("&port=5432")


def test_servers_of_the_caller_or_the_operator_are_used(tmp_path: Path) -> None:
    (tmp_path / "secrets.env").write_text("REDIS_URL=redis://theirs\n")
    environ = {"MARKETMON_HOME": str(tmp_path), "DATABASE_URL": "postgres://theirs"}
    settings = read_settings(environ, with_sandbox=True)
    assert settings.servers == {"DATABASE_URL": "postgres://theirs", "REDIS_URL": "redis://theirs"}


def test_the_operators_file_sets_ports_and_the_caller_wins(tmp_path: Path) -> None:
    (tmp_path / "secrets.env").write_text("PORT=8005\nWORKER_CONCURRENCY=2\n")
    environ = {"MARKETMON_HOME": str(tmp_path), "PORT": "8006"}
    settings = read_settings(environ, with_sandbox=True)
    assert (settings.port, settings.concurrency) == (8006, 2)


@pytest.mark.parametrize("number", ["0", "many", "-1", ""])
def test_a_number_of_processes_that_is_none_is_refused(tmp_path: Path, number: str) -> None:
    with pytest.raises(RefusedError, match="WORKER_CONCURRENCY"):
        read_settings({"MARKETMON_HOME": str(tmp_path), "WORKER_CONCURRENCY": number}, with_sandbox=True)


@pytest.mark.parametrize("text", ["", "0", "65536", "http", "-1", "80.5"])
def test_nonsense_is_not_a_port(tmp_path: Path, text: str) -> None:
    with pytest.raises(RefusedError, match=r"^PORT=.* from 1 to 65535$"):
        read_settings({"MARKETMON_HOME": str(tmp_path), "PORT": text}, with_sandbox=True)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    wrong = {"MARKETMON_HOME": str(tmp_path), "PORT": "0", "SANDBOX": "perhaps", "WORKER_CONCURRENCY": "0"}
    with pytest.raises(RefusedError) as refused:
        read_settings(wrong, with_sandbox=True)
    assert [line.split("=")[0] for line in str(refused.value).splitlines()] == ["PORT", "SANDBOX", "WORKER_CONCURRENCY"]


def test_a_server_whose_address_is_in_a_file_is_the_callers(tmp_path: Path) -> None:
    settings = read_settings(
        {"MARKETMON_HOME": str(tmp_path), "REDIS_URL_FILE": "/run/secrets/valkey"}, with_sandbox=True
    )
    assert settings.servers == {"REDIS_URL": "/run/secrets/valkey"}


def test_processes_are_told_where_things_are_and_no_secret(tmp_path: Path) -> None:
    ensure_secrets(tmp_path)
    settings = read_settings({"MARKETMON_HOME": str(tmp_path), "SANDBOX_PORT": "9200"}, with_sandbox=True)
    environ = childrens_environment(settings, URLS, first_run=True)
    assert environ.items() >= URLS.items()
    assert environ["SANDBOX_URL"] == "http://127.0.0.1:9200"
    assert environ["FIRST_RUN"] == "1"
    secrets = read_env_file(tmp_path / "secrets.env")
    for spec in application_specs(settings, environ).values():
        handed_over = " ".join([*spec.command, *spec.environ.values()])
        assert not any(secrets[name] in handed_over for name in ("SECRET_KEY", "ADMIN_API_KEY", "ADMIN_PASSWORD"))


def test_what_is_open_with_our_servers_is_the_operators_to_close(tmp_path: Path) -> None:
    (tmp_path / "secrets.env").write_text("METRICS_WEBHOOK_OPEN=off\n")
    settings = read_settings({"MARKETMON_HOME": str(tmp_path)}, with_sandbox=True)

    environ = childrens_environment(settings, URLS, first_run=False)
    assert environ["ALLOW_PRIVATE_EXCHANGE_URLS"] == "1"
    assert "METRICS_WEBHOOK_OPEN" not in environ  # every process reads it from the home
    assert childrens_environment(settings, {}, first_run=False)["ALLOW_PRIVATE_EXCHANGE_URLS"] == "0"


@pytest.mark.parametrize("show_password", [True, False])
def test_the_screen_says_what_a_newcomer_must_know(tmp_path: Path, show_password: bool) -> None:
    ensure_secrets(tmp_path)
    settings = read_settings({"MARKETMON_HOME": str(tmp_path)}, with_sandbox=True)
    moved = Site(Path("/var/lib/marketmon-x"), tmp_path, None, None, None)
    text = running(settings, moved, seconds=4.2, show_password=show_password)
    password = read_env_file(tmp_path / "secrets.env")["ADMIN_PASSWORD"]
    assert (password in text) is show_password
    for fact in ("http://127.0.0.1:8000/admin/", str(tmp_path / "secrets.env"), "/var/lib/marketmon-x", "Ctrl-C"):
        assert fact in text
    assert "simulated by the sandbox at http://127.0.0.1:9100; no real market data" in text
    assert len(text.splitlines()) < 24
