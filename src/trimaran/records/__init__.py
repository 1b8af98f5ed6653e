"""Kafka's record batches as bytes with a header, and the log entries that carry them.

`batch` sees only the 61-byte header, `iteration` and `building` the records inside, `compression`
the codecs, `entry` what a Raft log holds. Does not: I/O.
"""
