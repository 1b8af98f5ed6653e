"""How much a consumer group may hold. Every limit is on what a coordinator keeps in memory.

Does not: limit times; those stand in the node's configuration.
"""

GROUP_ID_CHARACTERS_MAX = 512
"""Kafka knows no limit but that of its strings; ids are keys here and in every snapshot."""
MEMBER_ID_CHARACTERS_MAX = 512
"""Made here, of at most CLIENT_ID_KEPT_MAX characters and 37 more; static ones of 286."""
INSTANCE_ID_CHARACTERS_MAX = 249
"""Kafka's limit for group.instance.id."""
CLIENT_ID_KEPT_MAX = 200
"""Characters of a client's id that are kept of a member."""
PROTOCOLS_MAX = 64
"""Assignors that one member may offer."""
SUBSCRIPTION_TOPICS_MAX = 10_000
"""Topics that one member of the new protocol may name; more than a cluster has."""
PATTERN_CHARACTERS_MAX = 4_096
"""Characters of the pattern that one member may subscribe with."""
MEMBER_BYTES_MAX = 1_048_576
"""Bytes of all subscriptions of one member."""
GROUP_BYTES_MAX = 8_388_608
"""Bytes of all subscriptions, or of all assignments, of one group: what one entry may hold.

In a group of the new protocol names and patterns count, and what classic members say beside them.
"""
GROUPS_MAX = 20_000
"""Groups of one coordinator; a further one is refused."""
OFFSETS_MAX = 20_000
"""Partitions for which one group may have committed; more than a cluster has."""
COMMAND_BYTES_MAX = 33_554_432
"""Bytes of one encoded command: a group, subscriptions and assignments, with room."""
COORDINATORS_DEFAULT = 8
"""Raft groups that consumer groups are spread over."""
