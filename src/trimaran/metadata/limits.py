"""How much a cluster's metadata may hold. Every limit is on what one image keeps in memory.

Does not: limit what a node serves; that stands in its configuration.
"""

NODES_MAX = 32
"""Nodes that may register, dead ones included."""
REPLICAS_MAX = 7
"""Replicas of a partition: more voters make commits slower, not safer."""
TOPIC_PARTITIONS_MAX = 2_000
"""Partitions of one topic: what is placed and created in one command."""
CLUSTER_PARTITIONS_MAX = 10_000
"""Partitions of all topics: each is a Raft group with a directory on every replica."""
TOPIC_NAME_CHARACTERS_MAX = 249
"""Kafka's limit: a directory name of 255 less the partition number."""
PRODUCER_ID_BLOCK_MAX = 1_000_000
"""Producer ids in one block; a node that stops wastes what is left of its block."""
PRODUCER_ID_MAX = 2**63 - 1
"""Producer ids are positive i64 on the wire; the last one is never given out."""
APPLIED_COMMANDS_MAX = 1_024
"""Commands whose ids are remembered, the latest: a second copy comes seconds after the first."""
DELETED_TOPICS_MAX = 1_024
"""Topic ids remembered as deleted, the latest: for groups that a crash left behind."""
COMMAND_BYTES_MAX = 1_048_576
"""Bytes of one encoded command; a topic of 2,000 partitions takes about 60,000."""
