import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def test_an_empty_sandbox_address_never_means_the_real_venues():
    """It did once: `{SANDBOX_URL}` became nothing, and simulated exchanges were asked for at their real addresses."""
    code = (
        "import django; django.setup()\n"
        "from exchanges.models import SANDBOX_PLACEHOLDER, Exchange\n"
        "print(Exchange(id='kraken', base_url=SANDBOX_PLACEHOLDER).feed_spec().base_url)"
    )
    environment = {
        **os.environ,
        "SANDBOX_URL": "",
        "SANDBOX_PORT": "9123",
        "DJANGO_SETTINGS_MODULE": "marketmon.settings",
    }

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
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
