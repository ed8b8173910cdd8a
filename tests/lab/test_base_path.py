"""The real web under a path of a host, behind proxies that take the path away and proxies that do not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import requests
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User

from lib import clock
from tests.api.conftest import make_exchange
from tests.status.running import Web, web
from tests.world import beat_was_seen

pytestmark = pytest.mark.timeout(300)
BASE = "/tools/mm"
LINK = re.compile(r"""(?:href|src|action|hx-get|hx-post|data-live|data-act|data-src)=["'](/[^"'#?]*)""")


@pytest.fixture(scope="module")
def site(django_db_setup: None) -> Iterator[Web]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BASE_PATH", BASE)
        with web() as running:
            yield running


@pytest.fixture
def person(transactional_db: None, site: Web) -> requests.Session:
    """An administrator who has signed in by the form."""
    password = make_password("correct horse battery", hasher="pbkdf2_sha256")  # the server knows no quick one
    User.objects.create(username="root", password=password, is_staff=True, is_superuser=True)
    make_exchange("kraken", clock.now())
    session = requests.Session()
    session.trust_env = False
    page = session.get(f"{site.url}{BASE}/admin/login/").text
    form = {"username": "root", "password": "correct horse battery", "next": f"{BASE}/admin/"}
    form["csrfmiddlewaretoken"] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[0]
    answer = session.post(f"{site.url}{BASE}/admin/login/", data=form, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{BASE}/admin/")
    assert f"Path={BASE}/" in answer.headers["Set-Cookie"]
    return session


PAGES = (
    "/admin/",
    "/board/",
    "/board/gaps/",
    "/board/exchanges/kraken",
    "/admin/exchanges/exchange/",
    "/admin/exchanges/exchange/kraken/change/",
    "/admin/exchanges/exchange/add/",
    "/status",
    "/api/docs/",
    "/api/v1/",
    "/nothing-here",
    "/board/live/",
)


def test_every_link_of_every_page_stays_under_the_path(person: requests.Session, site: Web) -> None:
    found: set[str] = set()
    for path in PAGES:
        page = person.get(f"{site.url}{BASE}{path}", headers={"Accept": "text/html"})
        assert page.status_code == (404 if "nothing" in path else 200), path
        found |= set(LINK.findall(page.text))

    outside = {link for link in found if not link.startswith(f"{BASE}/")}
    files = {link: person.get(f"{site.url}{link}").status_code for link in found if "/static/" in link}

    assert (outside, set(files.values())) == (set(), {200})
    assert len(files) > 10


def test_pages_are_the_same_where_the_proxy_takes_the_path_away(person: requests.Session, site: Web) -> None:
    person.cookies.set("sessionid", person.cookies["sessionid"], path="/")

    page = person.get(f"{site.url}/admin/", allow_redirects=False)

    assert page.status_code == 200
    assert "unsafe-eval" in page.headers["Content-Security-Policy"]
    assert f'href="{BASE}/admin/exchanges/exchange/"' in page.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{BASE}/live", 200),
        ("/live", 200),
        (f"{BASE}/v1/status", 401),
        ("/v1/status", 401),
        (f"{BASE}", 302),
        (f"{BASE}/", 302),
        ("/", 302),
        (f"{BASE}x/live", 404),
        ("/tools/live", 404),
        (f"{BASE}{BASE}/live", 404),
    ],
)
def test_a_path_is_ours_with_it_and_without(site: Web, transactional_db: None, path: str, status: int) -> None:
    beat_was_seen()
    answer = requests.get(f"{site.url}{path}", allow_redirects=False)

    assert answer.status_code == status
    assert answer.headers.get("Location", f"{BASE}/admin/") == f"{BASE}/admin/"


def test_answers_lead_back_under_the_path(person: requests.Session, site: Web) -> None:
    servers = requests.get(f"{site.url}{BASE}/api/schema/?format=json").json()["servers"]
    start = requests.get(f"{site.url}{BASE}/api/v1/", headers={"Accept": "application/json"}).json()

    assert servers == [{"url": BASE}]
    assert all(f"{BASE}/api/v1/" in address for address in start.values())
