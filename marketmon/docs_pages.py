"""Serves the documentation at /docs/, as it stands in the repository; no page loads anything from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import markdown
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern, re_path, reverse
from django.utils.html import strip_tags
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from lib.home import PROJECT_DIR

FOLDER = PROJECT_DIR / "docs"
IMAGES = FOLDER / "img"
# In the order in which somebody new reads them; pages that are not named follow.
ORDER = (
    "apis", "data", "archive", "sources", "trust", "alerts", "running", "backup", "settings", "glossary",
    "architecture",
)  # fmt: skip
BESIDE = {"changelog": PROJECT_DIR / "CHANGELOG.md", "contributing": PROJECT_DIR / "CONTRIBUTING.md"}
EXTENSIONS = ["tables", "fenced_code", "sane_lists", "toc"]
# A link of a page to another page or to a file of the repository.
_LINK = re.compile(r'(href|src)="(?!https?:|mailto:|#|/)([^"#]+)(#[^"]*)?"')
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class DocsPage:
    """A page of documentation: its name in the URL, its heading, its first sentence, and its text as HTML."""

    name: str
    title: str
    summary: str
    html: SafeString


def names() -> Sequence[str]:
    """Returns the names of all pages, in the order of the menu; none where the folder was not installed."""
    found = {path.stem for path in FOLDER.glob("*.md")}
    named = [name for name in ORDER if name in found]
    return [*named, *sorted(found.difference(named)), *(name for name, path in BESIDE.items() if path.exists())]


@cache
def read(name: str) -> DocsPage:
    """Returns a page. Raises Http404 for a name that none has."""
    if name not in names():
        raise Http404(f"there is no page {name}")
    path = BESIDE.get(name, FOLDER / f"{name}.md")
    text = path.read_text(encoding="utf-8")
    heading = _TITLE.search(text)
    html = markdown.markdown(text, extensions=EXTENSIONS, output_format="html")
    summary = strip_tags(html.partition("<p>")[2].partition("</p>")[0]).replace("\n", " ")
    title = heading[1] if heading else name
    return DocsPage(name, title, summary.partition(". ")[0].rstrip(".:"), mark_safe(_LINK.sub(_linked, html)))  # noqa: S308


def _linked(found: re.Match[str]) -> str:
    """Returns the link as it is here: pages and pictures have an address, other files of the repository only a name."""
    attribute, target, anchor = found[1], found[2], found[3] or ""
    file = Path(target)
    if attribute == "src" or file.suffix == ".png":
        return f'{attribute}="{reverse("docs-image", args=[file.name])}"'
    name = file.stem.lower()
    if file.suffix == ".md" and name in names():
        return f'{attribute}="{reverse("docs-page", args=[name])}{anchor}"'
    return f'title="{target}, in the repository"'


@require_safe
@cache_control(max_age=300)
def index(request: HttpRequest) -> HttpResponse:
    """Answers with the list of pages."""
    if not names():
        raise Http404("the documentation is not installed here")
    return render(request, "docs.html", {"menu": _menu()})


@require_safe
@cache_control(max_age=300)
def show(request: HttpRequest, name: str) -> HttpResponse:
    """Answers with one page."""
    return render(request, "docs.html", {"page": read(name), "menu": _menu()})


def _menu() -> list[DocsPage]:
    return [read(name) for name in names()]


@require_safe
@cache_control(max_age=300)
def image(request: HttpRequest, name: str) -> HttpResponseBase:
    """Answers with a picture of the pages."""
    path = IMAGES / name
    if path.parent != IMAGES or not path.is_file():
        raise Http404(f"there is no picture {name}")
    return FileResponse(path.open("rb"))


urlpatterns: list[URLPattern] = [
    re_path(r"^docs/?$", index, name="docs-pages"),
    re_path(r"^docs/img/(?P<name>[a-z0-9_-]{1,60}\.png)$", image, name="docs-image"),
    re_path(r"^docs/(?P<name>[a-z0-9-]{1,60})/?$", show, name="docs-page"),
]
