"""The page of one incident, and the incidents on the board: who is on it since when."""

from __future__ import annotations

from datetime import timedelta

from django.test import Client

from board import fragments, tiles
from incidents import people
from incidents.models import Incident
from lib import clock
from tests.incidents.conftest import Story, story, trouble

__all__ = ["story"]


def test_the_page_shows_the_timeline_in_the_admins_frame(story: Story, admin_client: Client) -> None:
    story.see(trouble(detail="<b>HTTP 502</b>"))
    number = Incident.objects.get().pk

    text = admin_client.get(f"/board/incidents/{number}").content.decode()

    assert "kraken is unreachable" in text
    assert "&lt;b&gt;HTTP 502" in text
    assert "Timeline" in text
    assert 'href="/admin/incidents/incident/"' in text  # the sidebar
    assert admin_client.get(f"/board/incidents/{number + 1}").status_code == 404
    assert Client().get(f"/board/incidents/{number}").status_code == 302


def test_the_board_says_who_is_on_it(story: Story) -> None:
    story.now = now = clock.now()
    story.see(trouble(since=now))
    people.acknowledge(Incident.objects.get().pk, by="anna", now=now, until=now + timedelta(hours=1))

    html = fragments.render_anew(tiles.read(clock.now()))["incidents"].html

    assert "anna is on it since" in html
    assert "Acknowledge" not in html
