"""How many files and sockets the process may hold, and how they are shared out.

The node ends when a file of its own cannot be opened, so clients get what the rest leaves. A shell
gives 1,024 where the machine allows far more: the soft limit is raised to the hard one first.
Does not: count what is open; each owner keeps to its share.
"""

import logging
import resource

from trimaran.config import NodeConfig
from trimaran.server.network import BACKLOG

FILES_SHARE = 8
"""Each of two lanes may hold one part in so many open as segments."""
OWN_COUNT = 128
"""The journal, listeners, pipes, the helper process, what compaction and repair read and write."""
HTTP_SHARE = 4
"""The HTTP side may hold one part in so many."""
HTTP_SPARE = 100
"""Its connections beyond `http.connections_max`, which are told so; further ones are closed."""
PEER_COUNT = 4
"""To each other node: both lanes, while those of before are closed."""
UNLIMITED = 1 << 20
"""Stands for no limit: nobody needs more."""

log = logging.getLogger(__name__)


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one, if the system lets it; return what holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:
            log.warning("the limit of open files stays at %d: %s", soft, error)
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft


def within_descriptors(config: NodeConfig, limit: int) -> NodeConfig:
    """Return the settings with no more files and client connections than `limit` has room for.

    The room for clients is cut short by a backlog of them, which may be accepted in one go before
    those that are too many are closed. Where nothing is left for them they get their part all the
    same: a node nobody can connect to serves nobody.
    """
    files = min(config.storage.open_files_max, max(limit // FILES_SHARE, 16))
    http = min(config.http.connections_max, limit // HTTP_SHARE)
    others = PEER_COUNT * (len(config.cluster.nodes) - 1)
    if config.http.enabled:
        others += http + HTTP_SPARE
    left = limit - 2 * files - others - OWN_COUNT - BACKLOG
    connections = min(config.kafka.connections_max, max(left, limit // FILES_SHARE))
    wanted = {
        "storage.open_files_max": (config.storage.open_files_max, files),
        "kafka.connections_max": (config.kafka.connections_max, connections),
        "http.connections_max": (config.http.connections_max, http),
    }
    cut = [f"{name}={most} (set: {set_})" for name, (set_, most) in wanted.items() if most < set_]
    if cut:
        log.warning("at most %d open files: %s; raise `ulimit -Hn`", limit, ", ".join(cut))
    return config.model_copy(
        update={
            "storage": config.storage.model_copy(update={"open_files_max": files}),
            "kafka": config.kafka.model_copy(update={"connections_max": connections}),
            "http": config.http.model_copy(update={"connections_max": http}),
        }
    )
