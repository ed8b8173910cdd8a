"""The metrics webhook API's routes; /health, /live and /ready are the project's own."""

from __future__ import annotations

from django.urls import re_path

from metrics import api

urlpatterns = [
    re_path(r"^metrics/?$", api.Exposition.as_view(), name="metrics"),
    re_path(r"^metrics/collect/?$", api.Collect.as_view(), name="metrics-collect"),
    re_path(r"^metrics/history/?$", api.CollectionHistory.as_view(), name="metrics-history"),
    re_path(r"^regime/current/?$", api.RegimeCurrent.as_view(), name="regime-current"),
    re_path(r"^regime/analyze/?$", api.RegimeAnalyze.as_view(), name="regime-analyze"),
    re_path(r"^grids/status/?$", api.GridsStatus.as_view(), name="grids-status"),
    re_path(r"^grids/create/?$", api.GridsCreate.as_view(), name="grids-create"),
    re_path(
        r"^(metrics|regime|grids)(/.*)?$", api.UnknownMetricsPath.as_view(http_method_names=[]), name="metrics-unknown"
    ),
]
