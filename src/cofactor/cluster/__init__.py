"""Beyond one machine, on Ray: workers read logs, fit models, make and measure lists, and try parameters."""

from __future__ import annotations

from cofactor.cluster.connection import Cluster, connect
from cofactor.cluster.events import ClusterEvents
from cofactor.cluster.interactions import ClusterInteractions

__all__ = ["Cluster", "ClusterEvents", "ClusterInteractions", "connect"]
