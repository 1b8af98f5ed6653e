"""The metadata group's state machine: nodes, topics, partitions, settings, producer ids.

`commands` is what may be asked, `image` what came of it, `placement` who gets a new partition and
who campaigns first, `topic_settings` and `node_settings` what may be set.
Does not: replicate (the group's Raft log does), create partitions (the broker does, from results).
"""
