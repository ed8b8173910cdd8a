"""docker-compose.yml without Docker: each service's own command, environment and health check, in a network and a /tmp
of their own, with the servers of the wheels in place of the two images. Needs root, for namespaces."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

from embedded import account, process
from embedded.programs import Programs, copied, find_postgres, find_valkey
from lib.home import PROJECT_DIR

VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?:(:[?-])([^}]*))?\})")
ADDRESSES = {"postgres": "127.0.0.2", "valkey": "127.0.0.3", "web": "127.0.0.1"}
CLONE_NEWNET = 0x40000000
# A container has a /tmp of its own; and names of other services, which Docker's DNS would know.
CONTAINER = 'mount -t tmpfs tmpfs /tmp && mount --bind "$0" /etc/hosts && cd "$1" && shift && exec "$@"'
# What the image's own does, but for leaving root; and its client, which no wheel has.
ENTRYPOINT = '#!/bin/sh\nexec "$@" --bind {address} 127.0.0.1 --dir {folder}\n'
CLIENT = """#!{python}
import os, redis
assert redis.Redis(password=os.environ["REDISCLI_AUTH"]).ping()
print("PONG")
"""


def interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    """A part of the file with `${NAME}`, `${NAME:-default}`, `${NAME:?words}` and `$$` replaced, as compose does."""
    if isinstance(value, dict):
        return {name: interpolated(each, variables) for name, each in value.items()}
    if isinstance(value, list):
        return [interpolated(each, variables) for each in value]
    return VARIABLE.sub(lambda found: _replaced(found, variables), value) if isinstance(value, str) else value


def _replaced(found: re.Match[str], variables: Mapping[str, str]) -> str:
    name, kind, words = found.groups()
    if name is None:
        return "$"
    if kind == ":?":
        assert variables.get(name), f"{name}: {words}"
    return variables.get(name) or (words if kind == ":-" else "")


@dataclass(slots=True)
class Composition:
    """The running services; `folder` holds their data, logs and programs."""

    folder: Path
    variables: Mapping[str, str]
    services: dict[str, Any] = field(init=False)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    namespace: subprocess.Popen[bytes] = field(init=False)
    postgres_programs: Programs = field(init=False)

    def __post_init__(self) -> None:
        text = (PROJECT_DIR / "docker-compose.yml").read_text()
        self.services = interpolated(yaml.safe_load(text)["services"], self.variables)
        (self.folder / "hosts").write_text(
            "".join(f"{ip} {name}\n" for name, ip in ADDRESSES.items()) + "127.0.0.1 localhost\n"
        )
        command = ["unshare", "-n", "sh", "-c", "ip link set lo up && exec sleep 3600"]
        self.namespace = subprocess.Popen(command)
        self._wait(lambda: self.inside(_has_loopback))

    def inside(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The function's result, called by a process in the services' network."""
        context = get_context("fork")
        answers, ours = context.Pipe(duplex=False)
        child = context.Process(target=_call_inside, args=(self.namespace.pid, ours, function, arguments))
        child.start()
        ours.close()
        try:
            is_well, result = answers.recv()
        finally:
            child.join(60)
        assert is_well, result
        return result

    def start(self, name: str) -> None:
        command = self._command(name)
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = process.spawn(
                self._contained(command), environ=self.environment(name), cwd=PROJECT_DIR, output=log.fileno()
            )

    def start_beside(self, name: str, command: Sequence[str]) -> None:
        """Starts what is no service of the file, in the services' network."""
        network = ["nsenter", "-t", str(self.namespace.pid), "-n"]
        environ = {"PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/bin"}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = process.spawn(
                [*network, *command], environ=environ, cwd=PROJECT_DIR, output=log.fileno()
            )

    def output(self, name: str, command: Sequence[str]) -> str:
        """What a command prints in a container of the service."""
        done = subprocess.run(
            self._contained(command),
            env=self.environment(name),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout + done.stderr

    def end(self, name: str) -> float:
        """Stops a service as Docker does; the seconds that it took."""
        started, running = time.monotonic(), self.running.pop(name)
        running.send_signal(signal.SIGTERM)
        running.wait(60)
        return time.monotonic() - started

    def run(self, name: str) -> int:
        """Starts a service that ends by itself."""
        self.start(name)
        return self.running.pop(name).wait(120)

    def environment(self, name: str) -> dict[str, str]:
        """Exactly what a container of the service is given, and what its image sets."""
        service = self.services[name]
        of_image = {"PATH": f"{self._programs()}:{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONUNBUFFERED": "1"}
        of_file = dict(self.variables) if ".env" in service.get("env_file", ()) else {}
        own = {key: str(value) for key, value in (service.get("environment") or {}).items()}
        places = self._volumes(service)
        own = {key: places.get(value, value) for key, value in own.items()}
        return {**of_image, "PYTHONDONTWRITEBYTECODE": "1", **of_file, **own}

    def _volumes(self, service: Mapping[str, Any]) -> dict[str, str]:
        """Folders of the test in place of those where volumes are mounted."""
        parts = [str(volume).split(":") for volume in service.get("volumes", ())]
        for name, *_ in parts:
            (self.folder / name).mkdir(exist_ok=True)
        return {target: str(self.folder / name) for name, target, *_ in parts}

    def is_healthy(self, name: str) -> bool:
        """The service's own health check, where the service runs."""
        kind, *words = self.services[name]["healthcheck"]["test"]
        command = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        inside = ["nsenter", "-t", str(self._first_of(name)), "-m", "-n", "--wd", *command]
        return (
            subprocess.run(inside, env=self.environment(name), capture_output=True, timeout=20, check=False).returncode
            == 0
        )

    def wait_until_healthy(self, name: str, *, seconds: float = 60) -> None:
        self._wait(lambda: self.is_healthy(name), seconds=seconds, name=name)

    def stop(self) -> None:
        for name in [*(each for each in self.running if each not in ADDRESSES), "web", "valkey", "postgres"]:
            if name in self.running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.running[name].pid, signal.SIGINT if name == "postgres" else signal.SIGTERM)
        for running in self.running.values():
            try:
                running.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
        self.namespace.kill()
        self.namespace.wait()

    def log_of(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _wait(self, is_reached: Callable[[], Any], *, seconds: float = 30, name: str = "") -> None:
        give_up_at = time.monotonic() + seconds
        while not is_reached():
            assert time.monotonic() < give_up_at, f"{name} is not healthy:\n{self.log_of(name)[-3000:] if name else ''}"
            time.sleep(0.3)

    def _contained(self, command: Sequence[str]) -> list[str]:
        network = ["nsenter", "-t", str(self.namespace.pid), "-n"]
        return [
            *network,
            "unshare",
            "-m",
            "sh",
            "-c",
            CONTAINER,
            str(self.folder / "hosts"),
            str(PROJECT_DIR),
            *command,
        ]

    def _first_of(self, name: str) -> int:
        return self.running[name].pid

    def _command(self, name: str) -> list[str]:
        service = self.services[name]
        if name == "postgres":
            return self._postgres(service)
        if name == "web" and "command" not in service:
            return _command_of_the_image()
        command = list(map(str, service["command"]))
        return [shutil.which(command[0], path=self.environment(name)["PATH"]) or command[0], *command[1:]]

    # --- the two images ---------------------------------------------------------------------------------------------

    def _programs(self) -> Path:
        folder = self.folder / "bin"
        if not folder.exists():
            folder.mkdir()
            (folder / "valkey-server").symlink_to(find_valkey().binary)
            self.postgres_programs = copied(find_postgres(), self.folder)
            (folder / "pg_isready").symlink_to(self.postgres_programs.binary.with_name("pg_isready"))
            (self.folder / "valkey").mkdir()
            scripts = {
                "docker-entrypoint.sh": ENTRYPOINT.format(address=ADDRESSES["valkey"], folder=self.folder / "valkey"),
                "valkey-cli": CLIENT.format(python=sys.executable),
            }
            for name, text in scripts.items():
                (folder / name).write_text(text)
                (folder / name).chmod(0o755)
        return folder

    def _postgres(self, service: Mapping[str, Any]) -> list[str]:
        """The server of the wheel with the image's own steps: initdb with its arguments, a password, a database."""
        own, nobody = service["environment"], account.nobody()
        self._programs()
        programs = self.postgres_programs
        data = self.folder / "postgres"
        account.private_folder(data, nobody)
        secret = self.folder / "password"
        secret.write_text(own["POSTGRES_PASSWORD"])
        secret.chmod(0o644)
        initdb = [str(programs.binary.with_name("initdb")), "-D", str(data), "-U", own["POSTGRES_USER"], "--no-sync"]
        initdb += ["--pwfile", str(secret), "--auth-host=scram-sha-256", "--auth-local=trust"]
        process.run([*initdb, *own["POSTGRES_INITDB_ARGS"].split()], account=nobody)
        single = [str(programs.binary), "--single", "-D", str(data), "postgres"]
        process.run(single, account=nobody, stdin=f"CREATE DATABASE {own['POSTGRES_DB']}\n")
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")
        given = list(map(str, service["command"]))[1:]
        where = ["-c", f"listen_addresses={ADDRESSES['postgres']},127.0.0.1", "-c", "unix_socket_directories=/tmp"]
        drop = ["setpriv", "--reuid", str(nobody.uid), "--regid", str(nobody.gid), "--clear-groups"]
        return [*drop, str(programs.binary), "-D", str(data), *given, *where]


def _command_of_the_image() -> list[str]:
    text = re.sub(r"\\\n", "", (PROJECT_DIR / "Dockerfile").read_text())
    words: list[str] = yaml.safe_load(re.findall(r"^CMD (\[.*?\])$", text, re.S | re.M)[-1])
    return [sys.executable, *words[1:]]


def _has_loopback() -> bool:
    return "lo" in Path("/proc/self/net/dev").read_text()


def _call_inside(pid: int, answers: Any, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
    import ctypes

    try:
        with open(f"/proc/{pid}/ns/net") as network:
            if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        answers.send((True, function(*arguments)))
    except BaseException as error:  # the test's own process says what went wrong
        answers.send((False, f"{type(error).__name__}: {error}"))


@contextlib.contextmanager
def composition(folder: Path, variables: Mapping[str, str]) -> Iterator[Composition]:
    made = Composition(folder, variables)
    try:
        yield made
    finally:
        made.stop()
