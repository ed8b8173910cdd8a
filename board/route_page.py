"""The page of a route: whom it tells, and what it would have told with another limit."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse

from board import pages
from exchanges.models import Exchange
from incidents.models import AlertRoute
from incidents.past import asking
from lib import clock


def show(request: HttpRequest, number: str) -> HttpResponse:
    """Shows a route; the past is asked when somebody looks at it."""
    route = AlertRoute.objects.filter(pk=int(number)).first()
    if route is None:
        raise Http404
    names = route.exchanges or list(
        Exchange.objects.filter(removed_at__isnull=True).order_by("pk").values_list("pk", flat=True)
    )
    exchange = request.GET.get("exchange", "")
    exchange = exchange if exchange in names else ""
    past = asking.of_route(route, clock.now(), exchange=exchange)
    context = {"title": f"Route {route.name}", "route": route, "past": past, "names": names, "exchange": exchange}
    return pages.show(request, "board/route.html", context)
