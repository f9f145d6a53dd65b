"""Beyond one machine, on Ray: logs read, ImplicitALS fitted and lists made by the workers of a cluster."""

from __future__ import annotations

from cofactor.cluster.connection import Cluster, connect
from cofactor.cluster.events import ClusterEvents
from cofactor.cluster.interactions import ClusterInteractions

__all__ = ["Cluster", "ClusterEvents", "ClusterInteractions", "connect"]
