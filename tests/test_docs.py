"""What the pages say is true: every setting is explained, and nothing is named that does not exist."""

import pkgutil
import re
from pathlib import Path

import pytest
from django.core.management import get_commands

from feeds.table import FEEDS

PROJECT = Path(__file__).resolve().parent.parent
AT_THE_TOP = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", PROJECT / "CHANGELOG.md"]
PAGES = [*AT_THE_TOP, *sorted((PROJECT / "docs").rglob("*.md"))]
READ_BY_SETTINGS = re.compile(r"""env\.\w+\(\s*["']([A-Z_]+)["']""")
# Read by the supervisor and the Makefile, before Django.
READ_BEFORE = {"MARKETMON_HOME", "PORT", "SANDBOX", "SANDBOX_MARKETS", "WORKER_CONCURRENCY"}


def settings_read() -> set[str]:
    return set(READ_BY_SETTINGS.findall((PROJECT / "marketmon/settings.py").read_text())) | READ_BEFORE


def settings_explained() -> set[str]:
    """What stands in the first column of a table; some rows explain two."""
    text = (PROJECT / "docs/settings.md").read_text()
    first_cells = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    return {name for cell in first_cells for name in re.findall(r"`([A-Z_]+)`", cell)}


def test_every_setting_is_explained():
    assert settings_read() - settings_explained() == set()


def test_every_explained_setting_exists():
    assert settings_explained() - settings_read() == set()


def test_the_readme_stays_short():
    assert len((PROJECT / "README.md").read_text().splitlines()) <= 80


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_a_pages_links_lead_somewhere_and_its_commands_exist(page):
    text = page.read_text()

    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
    commands = {*get_commands(), "check"}
    assert set(re.findall(r"manage\.py ([a-z]+)", text)) <= commands
    targets = set(re.findall(r"^([a-z0-9]+):.*##", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z0-9]+)", text)) <= targets


PACKAGES = (
    "marketmon|board|embedded|metrics|operations|collectors|exchanges|web|feeds|access|lib|sandbox|tests|benchmarks"
)
MADE_UP = {"feeds/native/bazaar.py", "sandbox/venues/<id>.py"}  # what a reader of docs/extending.md would write


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_what_a_page_names_of_the_code_exists(page):
    """`package/file.py`, `package/folder/`, `package.module` and `package.module.name`."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    named = re.findall(rf"`((?:{PACKAGES})[./][\w./<>-]*)", text)

    assert [name for name in named if name not in MADE_UP and not exists(name)] == []


def exists(name: str) -> bool:
    if "/" in name:
        return (PROJECT / name).exists()
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def test_the_page_of_sources_lists_the_exchanges_of_the_table():
    table = (PROJECT / "docs/sources.md").read_text().partition("| id | what |")[2].partition("\n\n")[0]
    ids = {
        name for cell in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
    }

    assert ids == FEEDS.keys()


def test_every_page_is_found_from_the_readme():
    told = (PROJECT / "README.md").read_text() + "".join(page.read_text() for page in PAGES[len(AT_THE_TOP) :])

    for page in PAGES[len(AT_THE_TOP) :]:
        path = page.relative_to(PROJECT / "docs").as_posix()
        assert f"]({path})" in told or f"](docs/{path})" in told, path
