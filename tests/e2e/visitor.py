"""A person's browser: walks the pages, and notes everything that a page does wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "img"
LARGEST_PICTURE_BYTES = 150_000
SERIOUS = ("serious", "critical")
CSP_MARK = "CSP violation:"
# Before anything of the page runs: violations as console lines, layout shifts and paints as they happen.
WATCH = f"""
document.addEventListener("securitypolicyviolation", (event) =>
  console.error("{CSP_MARK} " + event.violatedDirective + " " + event.blockedURI + " " + event.sourceFile));
window.seen = {{ shift: 0, largest: 0 }};
new PerformanceObserver((list) => list.getEntries().forEach((entry) => {{
  if (!entry.hadRecentInput) window.seen.shift += entry.value;
}})).observe({{ type: "layout-shift", buffered: true }});
new PerformanceObserver((list) => list.getEntries().forEach((entry) => {{
  window.seen.largest = entry.startTime;
}})).observe({{ type: "largest-contentful-paint", buffered: true }});
"""
FIGURES = """() => {
  const [page] = performance.getEntriesByType("navigation");
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  const resources = performance.getEntriesByType("resource");
  const fetched = resources.reduce((sum, each) => sum + each.transferSize, page.transferSize);
  return {
    first_byte: page.responseStart, first_paint: paint ? paint.startTime : null, largest_paint: window.seen.largest,
    requests: resources.length + 1, kilobytes: fetched / 1000, html_kilobytes: page.decodedBodySize / 1000,
    elements: document.getElementsByTagName("*").length, shift: window.seen.shift,
    is_too_wide: document.documentElement.scrollWidth > window.innerWidth,
  };
}"""


@dataclass(frozen=True)
class Look:
    """How a page is looked at."""

    name: str
    scheme: str = "light"
    width: int = 1280
    height: int = 800

    @property
    def is_narrow(self) -> bool:
        return self.width < 500


LOOKS = (Look("light"), Look("dark", scheme="dark"), Look("390 px", width=390, height=844))


@dataclass
class Record:
    """What all browsers of a run have seen."""

    url: str
    wrongs: list[str] = field(default_factory=list)
    figures: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    lags: list[tuple[str, float]] = field(default_factory=list)
    pages_checked: int = 0

    def note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.wrongs.append(f"console on {message.location.get('url', '')}: {message.text}")

    def note_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != urlsplit(self.url).netloc:
            self.wrongs.append(f"external request: {request.url}")


@dataclass
class Visitor:
    """One browser window. `look` is set by the system's preference, as most people's is."""

    context: BrowserContext
    page: Page
    record: Record
    look: Look

    def open(self, path: str) -> Page:
        answer = self.page.goto(self.record.url + path, wait_until="load")
        assert answer is not None
        assert answer.status == 200, f"{path}: {answer.status}"
        return self.page

    def sign_in(self, name: str, password: str) -> None:
        page = self.open("/admin/login/")
        page.fill("input[name=username]", name)
        page.fill("input[name=password]", password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "login" not in url)

    def forget_cache(self) -> None:
        """So that figures are those of a first visit."""
        session = self.context.new_cdp_session(self.page)
        session.send("Network.enable")
        session.send("Network.setCacheDisabled", {"cacheDisabled": True})

    def check(self, name: str) -> None:
        """Accessible, and no wider than the window."""
        self.page.wait_for_timeout(300)  # fragments that load themselves; axe wants a page at rest
        figures = self.page.evaluate(FIGURES)
        self.record.figures.append((name, self.look.name, figures))
        self.record.pages_checked += 1
        if figures["is_too_wide"]:
            self.record.wrongs.append(f"{name} ({self.look.name}) scrolls sideways")
        for violation in Axe().run(self.page).response["violations"]:
            if violation["impact"] in SERIOUS:
                where = "; ".join(" ".join(node["target"]) for node in violation["nodes"][:4])
                why = violation["nodes"][0].get("failureSummary", "").replace("\n", " ")[:200]
                self.record.wrongs.append(f"axe on {name} ({self.look.name}): {violation['id']}: {where}: {why}")

    def picture(self, name: str) -> None:
        """Into docs/img; small enough for a repository."""
        path = PICTURES / f"{name}.png"
        self.page.screenshot(path=path, animations="disabled")
        assert path.stat().st_size < LARGEST_PICTURE_BYTES, f"{path.name} is too large: {path.stat().st_size} bytes"


@contextmanager
def visitor(browser: Browser, record: Record, look: Look = LOOKS[0]) -> Iterator[Visitor]:
    context = browser.new_context(
        color_scheme=look.scheme,  # type: ignore[arg-type]
        viewport={"width": look.width, "height": look.height},
        timezone_id="Europe/Berlin",
        reduced_motion="reduce",
    )
    context.add_init_script(WATCH)
    context.on("request", record.note_request)
    context.on("console", record.note_console)
    context.on("weberror", lambda error: record.wrongs.append(f"script error: {error.error}"))
    context.set_default_timeout(20_000)
    yield Visitor(context, context.new_page(), record, look)
    context.close()


def find_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
