"""Every metric that an instance exposes, from the module that names them."""

from __future__ import annotations

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

from ftc_core.observability import metrics

__all__ = ["FAMILIES"]

FAMILIES: tuple[Metric, ...] = (
    *(
        family
        for value in vars(metrics).values()
        if isinstance(value, MetricWrapperBase)
        for family in value.collect()
    ),
    metrics.process_restarts({}),
    metrics.processes_ready({}),
    metrics.certificate_expiries({}),
    metrics.build_info("1", "3"),
    metrics.store_used_bytes(1),
    metrics.store_map_bytes(1),
    metrics.store_entries({}),
)
