"""THE table of the REST API: every endpoint of every noun.

Does not: hold any itself.
"""

from typing import Any

from trimaran.server.http.endpoint import Endpoint
from trimaran.server.http.routes import cluster, events, groups, local, metrics, topics

ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    *cluster.ENDPOINTS,
    *topics.ENDPOINTS,
    *events.ENDPOINTS,
    *groups.ENDPOINTS,
    *metrics.ENDPOINTS,
    *local.ENDPOINTS,
)
