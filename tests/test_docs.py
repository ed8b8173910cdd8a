"""What the pages say is true: the settings' tables are the real ones, and nothing is named that does not exist."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

from marketmon import settings_page

PROJECT = Path(__file__).resolve().parent.parent
PAGES = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").rglob("*.md"))]


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


def test_every_page_is_found_from_the_readme():
    told = (PROJECT / "README.md").read_text() + "".join(page.read_text() for page in PAGES[2:])

    for page in PAGES[2:]:
        path = page.relative_to(PROJECT / "docs").as_posix()
        assert f"]({path})" in told or f"](docs/{path})" in told, path
