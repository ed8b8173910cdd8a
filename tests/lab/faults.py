"""What can happen to a running system: each fault with what it does, and by which words the system must name it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg2
import redis
import requests

from tests.lab.plant import Plant
from tests.lab.proxy import Way

PROCESSES = {
    "worker": r"celery.* worker",
    "beat": r"celery.* beat",
    "pulse": r"manage.py pulse",
    "stream": r"manage.py stream",
    "notify": r"manage.py notify",
    "web": r"granian",
}
DATABASE_AWAY = "database not ready|Nothing listens|database does not answer"
VALKEY_AWAY = "redis not ready|Valkey does not answer"
EXITED = '"event": ?"child_exited"'
Inflict = Callable[[Plant], AbstractContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """`says` is a pattern for the system's words while it lasts; empty where it is over before anybody could ask.

    `lasts`: for so many seconds at least.
    """

    name: str
    inflict: Inflict
    says: str = ""
    lasts: float = 6.0


FAULTS: list[Fault] = []


def fault(name: str, says: str = "", *, lasts: float = 6.0) -> Callable[[Callable[[Plant], Iterator[None]]], Inflict]:
    def keep(inflict: Callable[[Plant], Iterator[None]]) -> Inflict:
        made = contextlib.contextmanager(inflict)
        FAULTS.append(Fault(name, made, says, lasts))
        return made

    return keep


def add(name: str, inflict: Inflict, says: str = "", *, lasts: float = 6.0) -> None:
    FAULTS.append(Fault(name, inflict, says, lasts))


# --- our processes ----------------------------------------------------------------------------------------------


def send_all(plant: Plant, pattern: str, number: signal.Signals) -> list[int]:
    pids = plant.pids(pattern)
    assert pids, f"no process matches {pattern}"
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return pids


def killed(*kinds: str) -> Inflict:
    @contextlib.contextmanager
    def inflict(plant: Plant) -> Iterator[None]:
        for kind in kinds:
            send_all(plant, PROCESSES[kind], signal.SIGKILL)
        yield

    return inflict


def stopped(*kinds: str) -> Inflict:
    """Stopped, and let go again; those that were replaced meanwhile are gone."""

    @contextlib.contextmanager
    def inflict(plant: Plant) -> Iterator[None]:
        pids = [pid for kind in kinds for pid in send_all(plant, PROCESSES[kind], signal.SIGSTOP)]
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    return inflict


for kind in PROCESSES:
    add(f"{kind}: SIGKILL", killed(kind), EXITED)
    add(f"{kind}: SIGSTOP 6 s", stopped(kind))
add("worker: SIGSTOP for good", stopped("worker"), "No worker runs|worker not ready", lasts=60)
add("pulse: SIGSTOP for good", stopped("pulse"), "pulse not ready|hang|exited", lasts=60)
add("beat: SIGSTOP for good", stopped("beat"), "scheduler does not run|beat not ready|exited", lasts=60)
add("stream: SIGSTOP for good", stopped("stream"), "No stream process|exited|degraded|silent", lasts=60)
add("all of ours: SIGKILL", killed(*PROCESSES), EXITED)


@fault("a child of the worker: SIGKILL")
def _child_killed(plant: Plant) -> Iterator[None]:
    parent = psutil.Process(plant.pids(PROCESSES["worker"])[0])
    for child in parent.children()[:2]:
        child.kill()
    yield


@fault("workers' children: SIGSTOP 6 s")
def _children_stopped(plant: Plant) -> Iterator[None]:
    children = psutil.Process(plant.pids(PROCESSES["worker"])[0]).children()
    for child in children:
        child.suspend()
    yield
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.resume()


# --- PostgreSQL -------------------------------------------------------------------------------------------------

add("PostgreSQL: stopped", lambda plant: plant.database.away(), DATABASE_AWAY, lasts=8)
add("PostgreSQL: SIGKILL", lambda plant: plant.database.away(killed=True), DATABASE_AWAY, lasts=8)
add("PostgreSQL: frozen", lambda plant: plant.database.frozen(), "database not ready|does not answer|Timeout", lasts=12)
add("PostgreSQL: cut off", lambda plant: plant.to_database.being(Way.CUT), DATABASE_AWAY, lasts=8)
add(
    "PostgreSQL: nothing passes",
    lambda plant: plant.to_database.being(Way.SWALLOWING),
    "database not ready|does not answer|Timeout",
    lasts=12,
)
add("PostgreSQL: half-open", lambda plant: plant.to_database.being(Way.HALF_OPEN), lasts=12)
add(
    "PostgreSQL: slow (0.6 s each way)",
    lambda plant: plant.to_database.slowed(0.6),
    "answers slowly|not ready",
    lasts=8,
)


@fault("PostgreSQL: restarted at once")
def _restarted(plant: Plant) -> Iterator[None]:
    with plant.database.away():
        pass
    yield


@fault("PostgreSQL: one backend SIGKILL")
def _backend_killed(plant: Plant) -> Iterator[None]:
    (row,) = plant.sql(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() LIMIT 1"
    )
    os.kill(row[0], signal.SIGKILL)
    yield


@fault("PostgreSQL: all backends ended, five times")
def _backends_ended(plant: Plant) -> Iterator[None]:
    for _ in range(5):
        plant.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        time.sleep(1)
    yield


@fault("PostgreSQL: connections broken off, five times")
def _broken_off(plant: Plant) -> Iterator[None]:
    for _ in range(5):
        plant.to_database.break_all()
        time.sleep(0.5)
    yield


def configured(name: str, value: str, *, ends_sessions: bool = False) -> Inflict:
    @contextlib.contextmanager
    def inflict(plant: Plant) -> Iterator[None]:
        def apply(statement: str) -> None:
            with contextlib.closing(plant.connect(options="-c default_transaction_read_only=off")) as connection:
                connection.cursor().execute(statement)
                connection.cursor().execute("SELECT pg_reload_conf()")

        apply(f"ALTER SYSTEM SET {name} = '{value}'")
        if ends_sessions:
            plant.to_database.break_all()
        try:
            yield
        finally:
            apply(f"ALTER SYSTEM RESET {name}")
            if ends_sessions:
                plant.to_database.break_all()

    return inflict


add("PostgreSQL: read-only", configured("default_transaction_read_only", "on"), "database is read-only", lasts=8)
add("PostgreSQL: statements end after 20 ms", configured("statement_timeout", "20ms"), lasts=8)
add("PostgreSQL: sorts on disk are refused", configured("temp_file_limit", "0"), lasts=8)
add("PostgreSQL: no autovacuum", configured("autovacuum", "off"))


def altered(there: str, back: str, says: str) -> tuple[Inflict, str]:
    """A change that a superuser makes in another database, with ours thrown out of theirs."""

    @contextlib.contextmanager
    def inflict(plant: Plant) -> Iterator[None]:
        url = plant.database.kind.url.replace("/marketmon?", "/postgres?")
        with contextlib.closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True
            connection.cursor().execute(there)
            plant.to_database.break_all()
            try:
                yield
            finally:
                connection.cursor().execute(back)

    return inflict, says


add(
    "PostgreSQL: the database takes nobody",
    *altered(
        "ALTER DATABASE marketmon ALLOW_CONNECTIONS false",
        "ALTER DATABASE marketmon ALLOW_CONNECTIONS true",
        "database not ready",
    ),
)
add(
    "PostgreSQL: two connections for ours",
    *altered(
        "ALTER DATABASE marketmon CONNECTION LIMIT 0",
        "ALTER DATABASE marketmon CONNECTION LIMIT -1",
        "database not ready|connections",
    ),
)


@fault("PostgreSQL: all connections taken", "connections|database not ready", lasts=10)
def _connections_taken(plant: Plant) -> Iterator[None]:
    held: list[Any] = []
    try:
        with contextlib.suppress(psycopg2.OperationalError):
            while len(held) < 200:
                held.append(plant.connect())
        plant.to_database.break_all()  # ours come back to a full house
        with contextlib.suppress(psycopg2.OperationalError):
            while len(held) < 200:
                held.append(plant.connect())
        yield
    finally:
        for each in held:
            each.close()


def locked(statement: str) -> Inflict:
    @contextlib.contextmanager
    def inflict(plant: Plant) -> Iterator[None]:
        with contextlib.closing(plant.connect(application_name="psql")) as connection:
            connection.autocommit = False
            connection.cursor().execute("SET lock_timeout = 0")
            connection.cursor().execute(statement)
            yield

    return inflict


HOLDS = r"A session of psql holds a lock"
for table in ("collectors_pipeline", "collectors_worker", "collectors_gap", "exchanges_exchange", "collectors_tick"):
    add(f"PostgreSQL: {table} locked", locked(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"), HOLDS, lasts=8)
add("PostgreSQL: rows of all workers locked", locked("SELECT * FROM collectors_worker FOR UPDATE"), HOLDS, lasts=8)
add("PostgreSQL: a long transaction", locked("SELECT count(*) FROM collectors_tick"), lasts=8)


@fault("PostgreSQL: 20 deadlocks")
def _deadlocks(plant: Plant) -> Iterator[None]:
    """Takes rows of two workers in the wrong order, beside statements of ours that want both."""
    for _ in range(20):
        with contextlib.closing(plant.connect()) as connection, contextlib.suppress(psycopg2.Error):
            connection.autocommit = False
            cursor = connection.cursor()
            cursor.execute("SET lock_timeout = '500ms'")
            cursor.execute("SELECT * FROM collectors_worker ORDER BY exchange_id DESC LIMIT 1 FOR UPDATE")
            time.sleep(0.05)
            cursor.execute("SELECT * FROM collectors_worker ORDER BY exchange_id FOR UPDATE")
    yield


# --- Valkey -----------------------------------------------------------------------------------------------------

add("Valkey: stopped", lambda plant: plant.queue.away(), VALKEY_AWAY, lasts=8)
add("Valkey: SIGKILL", lambda plant: plant.queue.away(killed=True), VALKEY_AWAY, lasts=8)
add("Valkey: frozen", lambda plant: plant.queue.frozen(), VALKEY_AWAY, lasts=10)
add("Valkey: cut off", lambda plant: plant.to_valkey.being(Way.CUT), VALKEY_AWAY, lasts=8)
add("Valkey: nothing passes", lambda plant: plant.to_valkey.being(Way.SWALLOWING), VALKEY_AWAY, lasts=10)
add("Valkey: half-open", lambda plant: plant.to_valkey.being(Way.HALF_OPEN), lasts=12)
add("Valkey: slow (0.3 s each way)", lambda plant: plant.to_valkey.slowed(0.3), lasts=8)


@fault("Valkey: connections broken off, five times")
def _valkey_broken_off(plant: Plant) -> Iterator[None]:
    for _ in range(5):
        plant.to_valkey.break_all()
        time.sleep(0.5)
    yield


@fault("Valkey: restarted with nothing in it")
def _valkey_anew(plant: Plant) -> Iterator[None]:
    plant.valkey().flushall()
    with plant.queue.away():
        pass
    yield


@fault("Valkey: emptied, ten times")
def _emptied(plant: Plant) -> Iterator[None]:
    for _ in range(10):
        plant.valkey().flushall()
        time.sleep(0.5)
    yield


def valkey_configured(**values: str) -> Inflict:
    @contextlib.contextmanager
    def inflict(plant: Plant) -> Iterator[None]:
        client = plant.valkey()
        before = {name: client.config_get(name)[name] for name in values}  # type: ignore[index]
        for name, value in values.items():
            client.config_set(name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                client.config_set(name, value)

    return inflict


add("Valkey: memory full", valkey_configured(maxmemory="1"), "its memory is full", lasts=8)
add(
    "Valkey: memory full, evicts",
    valkey_configured(**{"maxmemory-policy": "allkeys-lru", "maxmemory": "1500000"}),
    lasts=8,
)
add(
    "Valkey: too few replicas to write",
    valkey_configured(**{"min-replicas-to-write": "1"}),
    "Valkey stores nothing",
    lasts=8,
)
add("Valkey: one client at most", valkey_configured(maxclients="1"), lasts=8)


@fault("Valkey: a read-only replica", "read-only replica|Valkey does not answer|redis not ready", lasts=8)
def _replica(plant: Plant) -> Iterator[None]:
    plant.valkey().replicaof("127.0.0.1", "1")
    yield
    plant.valkey().replicaof("NO", "ONE")


@fault("Valkey: wants a password", "redis not ready|Valkey does not answer|our password", lasts=8)
def _password(plant: Plant) -> Iterator[None]:
    client = plant.valkey()
    client.config_set("requirepass", "secret")
    client.client_kill_filter(_type="normal", skipme=True)
    yield
    redis.Redis(unix_socket_path=str(plant.queue.kind.socket_path), password="secret").config_set("requirepass", "")


@fault("Valkey: answers nobody for 8 s", VALKEY_AWAY, lasts=8)
def _paused(plant: Plant) -> Iterator[None]:
    plant.valkey().client_pause(8000, all=True)
    yield


@fault("Valkey: texts where queues belong")
def _wrong_types(plant: Plant) -> Iterator[None]:
    client = plant.valkey()
    for key in ("poll", "default", "poll\x06\x163", "unacked", "unacked_index", "board:live", "marketmon:processes"):
        client.delete(key)
        client.set(key, "text")
    yield


@fault("Valkey: news of generations that nobody has")
def _wrong_generations(plant: Plant) -> Iterator[None]:
    client = plant.valkey()
    for key in client.scan_iter("*generation*"):
        client.set(key, 10**6, ex=86_400)
    for (name,) in plant.sql("SELECT id FROM exchanges_exchange"):
        client.set(f"generation:{name}", 10**6, ex=86_400)
    yield


@fault("Valkey: 300 polls again and again")
def _copies(plant: Plant) -> Iterator[None]:
    """Messages of the queue are delivered many times."""
    client = plant.valkey()
    for key in ("poll", "poll\x06\x163", "poll\x06\x166", "poll\x06\x169"):
        for message in client.lrange(key, 0, 20) if client.type(key) == b"list" else []:
            client.lpush(key, *[message] * 100)
    yield


# --- exchanges and what leads there -----------------------------------------------------------------------------


def of_exchanges(name: str, kind: str, says: str, lasts: float = 20.0, **details: Any) -> None:
    @contextlib.contextmanager
    def inflict(plant: Plant) -> Iterator[None]:
        plant.sandbox.fault(name, kind, **details)
        try:
            yield
        finally:
            plant.sandbox.heal()

    add(f"exchange {name}: {kind}", inflict, says, lasts=lasts)


of_exchanges("luno", "status", "luno", params={"code": 503})
of_exchanges("luno", "hang", "luno")
of_exchanges("luno", "html", "luno")
of_exchanges("kraken", "ws_silence", "kraken|poll")
of_exchanges("*", "status", "at once|degraded|down", params={"code": 502})


@fault("all exchanges: nothing listens", "at once|unreachable|degraded|exited", lasts=8)
def _sandbox_killed(plant: Plant) -> Iterator[None]:
    for pid in plant.pids(r"-m sandbox"):
        os.kill(pid, signal.SIGKILL)
    yield


@fault("all exchanges: answers stand still", lasts=8)
def _sandbox_stopped(plant: Plant) -> Iterator[None]:
    pids = plant.pids(r"-m sandbox")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    yield
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


@fault("one exchange: its name does not resolve", "luno", lasts=20)
def _no_name(plant: Plant) -> Iterator[None]:
    ((before,),) = plant.sql("SELECT base_url FROM exchanges_exchange WHERE id = 'luno'")
    change = (
        "WITH e AS (UPDATE exchanges_exchange SET base_url = %s WHERE id = 'luno') "
        "UPDATE collectors_worker SET generation = generation + 1 WHERE exchange_id = 'luno'"
    )
    plant.sql(change, "http://nowhere.invalid")
    yield
    plant.sql(change, before)


# --- our own doing ----------------------------------------------------------------------------------------------


@fault("all exchanges restarted, five times")
def _restarts(plant: Plant) -> Iterator[None]:
    secrets = dict(line.split("=", 1) for line in (plant.home / "secrets.env").read_text().splitlines() if "=" in line)
    for _ in range(5):
        for (name,) in plant.sql("SELECT id FROM exchanges_exchange WHERE enabled"):
            requests.post(
                f"{plant.url}/api/v1/exchanges/workers/{name}/restart",
                headers={"X-Admin-Key": secrets["ADMIN_API_KEY"]},
                timeout=30,
            )
    yield


@fault("the whole schedule switched off", "Switched off in the schedule|beat not ready", lasts=5)
def _schedule_off(plant: Plant) -> Iterator[None]:
    plant.sql("UPDATE django_celery_beat_periodictask SET enabled = false WHERE name LIKE 'job:%%'")
    plant.sql("UPDATE django_celery_beat_periodictasks SET last_update = clock_timestamp()")
    yield


@fault("leases that nobody holds, for an hour")
def _leases(plant: Plant) -> Iterator[None]:
    plant.sql(
        "UPDATE collectors_processlease SET holder = 'beat:elsewhere:1:0', "
        "held_until = clock_timestamp() + interval '20 seconds' WHERE name = 'beat'"
    )
    yield


@fault("a failover: generations as they were before the last commands")
def _generations_back(plant: Plant) -> Iterator[None]:
    plant.sql("UPDATE collectors_worker SET generation = generation - 1 WHERE generation > 1")
    yield


# --- two at once ------------------------------------------------------------------------------------------------


def together(*faults: Inflict) -> Inflict:
    @contextlib.contextmanager
    def inflict(plant: Plant) -> Iterator[None]:
        with ExitStack() as stack:
            for each in faults:
                stack.enter_context(each(plant))
            yield

    return inflict


add(
    "both servers: SIGKILL",
    together(lambda plant: plant.database.away(killed=True), lambda plant: plant.queue.away(killed=True)),
    DATABASE_AWAY,
    lasts=8,
)
add(
    "power: everything SIGKILL at once",
    together(
        killed(*PROCESSES),
        lambda plant: plant.database.away(killed=True),
        lambda plant: plant.queue.away(killed=True),
    ),
    EXITED,
    lasts=5,
)
add("Valkey emptied and the worker SIGKILL", together(_emptied, killed("worker")), EXITED)
add(
    "PostgreSQL frozen and beat SIGKILL",
    together(lambda plant: plant.database.frozen(), killed("beat")),
    EXITED,
    lasts=10,
)
add(
    "Valkey full and PostgreSQL restarted",
    together(valkey_configured(maxmemory="1"), _restarted),
    "its memory is full",
    lasts=8,
)
add(
    "PostgreSQL read-only and the worker SIGKILL",
    together(configured("default_transaction_read_only", "on"), killed("worker")),
    "database is read-only",
    lasts=8,
)
add(
    "both servers cut off",
    together(lambda plant: plant.to_database.being(Way.CUT), lambda plant: plant.to_valkey.being(Way.CUT)),
    DATABASE_AWAY,
    lasts=8,
)
add(
    "an exchange down and the pulse SIGKILL",
    together(next(each.inflict for each in FAULTS if each.name == "exchange luno: status"), killed("pulse")),
    "luno",
    lasts=15,
)
