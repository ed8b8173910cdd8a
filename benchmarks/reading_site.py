"""Our site plus the other ways to answer the same question, in one process: DRF serializers and a static file."""

# ruff: noqa: E402  (Django must be set up before its models are imported)

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketmon.settings")

import django
from django.conf import settings

django.setup()
settings.ROOT_URLCONF = "benchmarks.reading_site"

from django.core.wsgi import get_wsgi_application
from django.urls import path
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from collectors.models import Pipeline
from collectors.status.dialects import pipelines
from collectors.status.dialects.json_rows import age_seconds, whole_second
from lib import clock
from marketmon import urls
from web.gateway import Gateway


class PipelineSerializer(serializers.ModelSerializer[Pipeline]):
    source = serializers.CharField(source="market.source")
    symbol = serializers.CharField(source="market.base")
    last_ingested = serializers.DateTimeField(source="received_at", format="%Y-%m-%dT%H:%M:%SZ")
    delay_seconds = serializers.SerializerMethodField()
    status = serializers.SerializerMethodField()
    gaps_last_24h = serializers.IntegerField(source="gaps_24h")

    class Meta:
        model = Pipeline
        fields = ["source", "symbol", "last_ingested", "delay_seconds", "status", "gaps_last_24h"]

    def get_delay_seconds(self, pipeline: Pipeline) -> int | None:
        if pipeline.received_at is None:
            return None
        return age_seconds(whole_second(pipeline.received_at), whole_second(self.context["now"]))

    def get_status(self, pipeline: Pipeline) -> str:
        return pipelines.status(self.get_delay_seconds(pipeline))


class ByDrf(APIView):
    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]

    def get(self, request: Request) -> Response:
        rows = Pipeline.objects.select_related("market").order_by("market__source", "market__base")
        data = PipelineSerializer(rows, many=True, context={"now": clock.now()}).data
        return Response({"data": data, "meta": {"count": len(data)}})


handler400, handler403, handler404, handler500 = urls.handler400, urls.handler403, urls.handler404, urls.handler500
urlpatterns = [path("bench/drf", ByDrf.as_view()), *urls.urlpatterns]
application = Gateway(get_wsgi_application())
