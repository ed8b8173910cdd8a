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
