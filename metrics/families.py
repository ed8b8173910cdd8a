"""Makes the families of Prometheus' series: all names begin alike."""

from __future__ import annotations

from prometheus_client.core import GaugeMetricFamily


def gauge(name: str, words: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"marketmon_{name}", words, labels=labels)
