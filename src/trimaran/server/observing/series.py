"""Which numbers are sampled every second, with their units: what the history can be asked for.

Series of topics, partitions, groups and other nodes have the name in their name; how many of them
there are at most is in `sampling`.
Does not: sample.
"""

from trimaran.server.observing.shapes import SeriesInfo

NODE_SERIES = (
    ("events_in_per_s", "1/s", "Events stored by partitions led here."),
    (
        "events_out_per_s",
        "1/s",
        "Events that clients read; not what nodes read for the REST API and the dashboard.",
    ),
    ("bytes_in_per_s", "B/s", "Bytes received from clients."),
    ("bytes_out_per_s", "B/s", "Bytes sent to clients."),
    ("produce_p50_ms", "ms", "From a batch's proposal to its answer, median of a batch a round."),
    ("produce_p99_ms", "ms", "The same, 99th percentile."),
    ("ack_queue_ms", "ms", "Of that, mean wait for the journal round."),
    ("ack_disk_ms", "ms", "Mean wait for the own disk."),
    ("ack_network_ms", "ms", "Mean wait for followers, their disks included, beyond that."),
    ("ack_answer_ms", "ms", "Mean time from commit to the answer on its socket."),
    ("replication_ms", "ms", "Mean time from sending entries to a majority that holds them."),
    ("fsync_p50_ms", "ms", "A journal round's write and sync, median."),
    ("fsync_p99_ms", "ms", "The same, 99th percentile."),
    ("fsyncs_per_s", "1/s", "Journal rounds."),
    ("batch_events_mean", "1", "Events proposed here for one round."),
    ("batch_bytes_mean", "B", "Bytes of entries in one round."),
    ("loop_lag_ms", "ms", "Highest lateness of the event loop."),
    ("cpu_percent", "%", "Processor time of the node; 100 is one core."),
    ("rss_bytes", "B", "Resident memory."),
    ("connections", "1", "Open client connections."),
    ("requests_per_s", "1/s", "Client requests."),
    ("errors_per_s", "1/s", "Requests, or parts of them, that got an error."),
    ("leaders", "1", "Groups led here."),
    ("groups", "1", "Groups that this node takes part in."),
    ("groups_without_leader", "1", "Of those, without a leader that this node knows of."),
    ("under_replicated", "1", "Groups led here of which a follower is behind or gone."),
    ("unflushed_bytes", "B", "Committed bytes not yet in segments."),
    ("journal_bytes", "B", "Journal files."),
    ("free_bytes", "B", "Left on the disk."),
    ("dedup_hits_per_s", "1/s", "Events not stored again because their id was known."),
)

TOPIC_SERIES = (
    ("events_in_per_s", "1/s", "Events stored by the topic's partitions led here."),
    ("bytes_in_per_s", "B/s", "Bytes of batches stored by them."),
    ("events_out_per_s", "1/s", "Events that clients read of them."),
)
PARTITION_SERIES = (
    ("log_end", "1", "First unwritten offset of this node's replica."),
    ("high_watermark", "1", "First offset that this replica does not know to be committed."),
    ("term", "1", "The term of this replica."),
)
PEER_SERIES = (
    ("append_events_per_s", "1/s", "Events of partitions led here that the node acknowledged."),
    ("rtt_ms", "ms", "From a heartbeat to its answer, mean."),
    ("lag_events", "1", "Events of partitions led here that the node has not acknowledged."),
)
GROUP_SERIES = (
    ("lag_events", "1", "Events that the group coordinated here has not consumed."),
    ("lag_s", "s", "Age of the first event that it has not consumed."),
)
_NODE = {name: (unit, text) for name, unit, text in NODE_SERIES}
_PARTS = {
    "topic": {name: (unit, text) for name, unit, text in TOPIC_SERIES},
    "partition": {name: (unit, text) for name, unit, text in PARTITION_SERIES},
    "peer": {name: (unit, text) for name, unit, text in PEER_SERIES},
    "group": {name: (unit, text) for name, unit, text in GROUP_SERIES},
}


def info_of(name: str) -> SeriesInfo:
    """Return what the series `name` is. Asserts that it is one of ours."""
    if name in _NODE:
        unit, text = _NODE[name]
    else:
        kind, _, rest = name.partition("/")
        unit, text = _PARTS[kind][rest.rpartition("/")[2]]
    return SeriesInfo(name=name, unit=unit, help=text)
