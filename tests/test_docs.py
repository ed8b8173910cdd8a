"""What the pages say is true: the settings' tables are the real ones, and nothing is named that does not exist."""

import pkgutil
import re
from pathlib import Path

import pytest
from django.core.management import get_commands

from feeds.table import FEEDS
from marketmon import settings_page

PROJECT = Path(__file__).resolve().parent.parent
AT_THE_TOP = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", PROJECT / "CHANGELOG.md"]
PAGES = [*AT_THE_TOP, *sorted((PROJECT / "docs").rglob("*.md"))]


def test_the_tables_of_settings_are_those_that_read_them():
    page = (PROJECT / "docs/settings.md").read_text()

    assert page == settings_page.rewritten(page), "write them anew: manage.py settings --page"


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
    "marketmon|board|embedded|metrics|operations|incidents|collectors|exchanges|web|feeds|access|archive|lib|sandbox|tests"
    "|benchmarks"
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
