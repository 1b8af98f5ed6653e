"""What a node keeps on disk, and how it finds it again.

In the order in which to read: files (the disk as a port), frames, identity and group_list (small
files), journal_format and journal (what is fresh), segment, sidecar and partition_log (what is
committed), boundary (where one ends and the other begins), journal_scan, replay, log_recovery and
recovery (the start), damage, log_repair and verify. Formats: docs/storage-format.md.

Does not: know Kafka's protocol, Raft's rules, or the event loop.
"""
