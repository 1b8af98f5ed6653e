"""Formatting: what a data directory must hold before a node may start on it.

`format` gives a directory its identity: cluster id, node id and a fresh disk id. An empty directory
is never used without it: a node whose disk was lost must not come back as the voter it was.
Does not: start nodes, or overwrite a directory that holds anything.
"""

import base64
import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from trimaran.config import NodeConfig, load_config
from trimaran.errors import TrimaranError
from trimaran.ids import ClusterId, DiskId
from trimaran.server.places import NodePlace
from trimaran.storage.files import RealFiles
from trimaran.storage.formatting import format_store
from trimaran.storage.identity import Identity


class FormatError(TrimaranError):
    """A directory that must not be formatted."""


def mint_cluster_id() -> ClusterId:
    """Return 22 characters, URL-safe base64 of 16 random bytes, as Kafka's cluster ids."""
    return ClusterId(base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("="))


def format_node(config: NodeConfig, *, cluster_id: ClusterId, join: bool = False) -> Identity:
    """Give the data directory of `config` its identity, durably.

    `join`: a new disk for a cluster that exists; without it, one of a cluster's first directories.

    Raises:
        FormatError: the directory holds something, or the settings name another cluster.
    """
    data = Path(config.node.data_directory)
    if config.cluster.id is not None and config.cluster.id != cluster_id:
        raise FormatError(
            f"cluster.id is {config.cluster.id} in the settings but {cluster_id} was asked for"
        )
    if data.exists() and any(data.iterdir()):
        raise FormatError(
            f"{data} is not empty: format only makes fresh directories; "
            f"check that nothing there is needed, remove it, and format again"
        )
    data.mkdir(parents=True, exist_ok=True)
    identity = Identity(
        cluster_id=cluster_id, node_id=config.node.id, disk_id=DiskId(os.urandom(16))
    )
    format_store(RealFiles(str(data)), identity, joins=join)
    return identity


def write_settings(
    node: NodePlace, nodes: Sequence[NodePlace], *, cluster_id: ClusterId
) -> NodeConfig:
    """Write the YAML file of one node of a local cluster; return what it says."""
    settings = {
        "node": {"id": int(node.node_id), "data_directory": str(node.data)},
        "cluster": {
            "id": str(cluster_id),
            "nodes": [
                {"id": int(other.node_id), "host": other.host, "peer_port": other.peer_port}
                for other in nodes
            ],
        },
        "kafka": {"host": node.host, "port": node.kafka_port},
        "http": {"host": node.host, "port": node.http_port},
    }
    text = yaml.safe_dump(settings, sort_keys=False)
    node.settings_path.write_text(text)
    return load_config(text, {})
