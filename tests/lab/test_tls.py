"""Valkey over TLS: Celery's client is as strict as ours, and the words of the address mean the same to both."""

from __future__ import annotations

import datetime
import ipaddress
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kombu import Connection
from kombu.exceptions import OperationalError

from lib import valkey
from lib.environment import Setting
from lib.server_addresses import VALKEY_ADDRESS
from tests.lab.conftest import Program
from tests.sandbox_client import free_port


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1, signed by itself, beside its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=valkey")
    began = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(began).not_valid_after(began.replace(year=2099))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "ca.pem"


@pytest.fixture(scope="module")
def server(debian: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    folder, port = tmp_path_factory.mktemp("tls"), free_port()
    trusted = certificate(folder)
    files = ["--tls-cert-file", str(trusted), "--tls-key-file", str(folder / "key.pem"), "--tls-auth-clients", "no"]
    command = [debian("redis-server", "redis-server"), "--port", "0", "--tls-port", str(port), "--save", "", *files]
    running = subprocess.Popen([*command, "--dir", str(folder)], stdout=subprocess.DEVNULL)
    time.sleep(1)
    try:
        yield port, trusted
    finally:
        running.terminate()
        running.wait(10)


def both(address: str) -> tuple[str, str]:
    """What our client and Celery's say to this address."""
    address = VALKEY_ADDRESS.read(Setting("REDIS_URL", VALKEY_ADDRESS, "", ""), address)
    try:
        ours = "ok" if redis.Redis.from_url(address).set("x", 1) else "no"
    except redis.ConnectionError as error:
        ours = str(error)
    try:
        with Connection(valkey.broker_url(address), ssl=valkey.broker_tls(address)) as broker:
            broker.default_channel.client.ping()
            theirs = "ok"
    except (OperationalError, redis.ConnectionError) as error:
        theirs = str(error)
    return ours, theirs


@pytest.mark.parametrize(
    ("host", "words", "refusal"),
    [
        ("127.0.0.1", "", "certificate verify failed"),
        ("127.0.0.1", "?ssl_ca_certs={ca}", None),
        ("localhost", "?ssl_ca_certs={ca}", "Hostname mismatch"),
        ("localhost", "?ssl_ca_certs={ca}&ssl_check_hostname=false", None),
        ("127.0.0.1", "?ssl_cert_reqs=none", None),
        ("127.0.0.1", "?ssl_cert_reqs=CERT_NONE", None),
        ("127.0.0.1", "?ssl_cert_reqs=required", "certificate verify failed"),
    ],
)
@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_both_clients_verify_alike(
    server: tuple[int, Path], scheme: str, host: str, words: str, refusal: str | None
) -> None:
    port, trusted = server

    found = both(f"{scheme}://{host}:{port}/0{words.format(ca=trusted)}")

    assert all(each == "ok" if refusal is None else refusal in each for each in found), found
