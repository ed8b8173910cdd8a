"""What the pages say is true: every setting is explained, and no page names one that does not exist."""

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
READ_BY_SETTINGS = re.compile(r"""env\.\w+\(\s*["']([A-Z_]+)["']""")
# Read by the supervisor and the Makefile, before Django.
READ_BEFORE = {"MARKETMON_HOME", "PORT", "SANDBOX", "WORKER_CONCURRENCY"}


def settings_read() -> set[str]:
    return set(READ_BY_SETTINGS.findall((PROJECT / "marketmon/settings.py").read_text())) | READ_BEFORE


def settings_explained() -> set[str]:
    """What stands in the first column of a table; some rows explain two."""
    text = (PROJECT / "docs/operations.md").read_text()
    first_cells = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    return {name for cell in first_cells for name in re.findall(r"`([A-Z_]+)`", cell)}


def test_every_setting_is_explained():
    assert settings_read() - settings_explained() == set()


def test_every_explained_setting_exists():
    assert settings_explained() - settings_read() == set()


def test_the_readme_stays_short_and_its_links_lead_somewhere():
    text = (PROJECT / "README.md").read_text()

    assert len(text.splitlines()) <= 80
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (PROJECT / target).exists(), target
