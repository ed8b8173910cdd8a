"""Callers from addresses of their own, crowds of them, and a certificate for whom they call."""

from __future__ import annotations

import ipaddress
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from requests.adapters import HTTPAdapter


class FromAddress(HTTPAdapter):
    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: object, **more: object) -> None:
        super().init_poolmanager(*args, source_address=(self._address, 0), **more)  # type: ignore[arg-type]


def certificate(folder: Path) -> None:
    """Writes certificate.pem, key.pem and both.pem for `your.host` and 127.0.0.1."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab")]),
    )
    names = [x509.DNSName("your.host"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    shown = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for file, content in (("certificate.pem", shown), ("key.pem", secret), ("both.pem", shown + secret)):
        (folder / file).write_bytes(content)


def read_by_fifty(url: str, path: str, stop: Any, told: Any) -> None:
    """Runs in a process of its own: fifty threads in the one that measures would be all that it measures."""
    counts: Counter[int] = Counter()

    def read() -> None:
        while not stop.is_set():
            counts[requests.get(f"{url}{path}", timeout=60).status_code] += 1

    with ThreadPoolExecutor(50) as pool:
        for _ in range(50):
            pool.submit(read)
    told.put(dict(counts))
