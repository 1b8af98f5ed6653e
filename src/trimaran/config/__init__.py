"""A node's configuration: every setting with its unit, default, bounds and meaning.

`sections` is THE table of settings, `loading` makes it of a YAML text and the environment and names
everything that is wrong at once, `description` tells the documentation about every field.
Does not: read files or the environment itself, or hold what can be changed while a node runs.
"""

from trimaran.config.description import FieldDescription, describe
from trimaran.config.loading import load_config, to_yaml
from trimaran.config.replication import ReplicationSection
from trimaran.config.sections import (
    ClusterSection,
    HttpSection,
    JournalSection,
    KafkaSection,
    LoggingSection,
    NodeConfig,
    NodeSection,
    PeerAddress,
    StorageSection,
    TopicSection,
)

__all__ = [
    "ClusterSection",
    "FieldDescription",
    "HttpSection",
    "JournalSection",
    "KafkaSection",
    "LoggingSection",
    "NodeConfig",
    "NodeSection",
    "PeerAddress",
    "ReplicationSection",
    "StorageSection",
    "TopicSection",
    "describe",
    "load_config",
    "to_yaml",
]
