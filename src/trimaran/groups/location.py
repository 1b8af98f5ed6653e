"""Which coordinator a consumer group belongs to.

The answer must never change for a group that has committed anything, so the number of coordinators
is fixed when they are made. Does not: know who leads them.
"""

from zlib import crc32


def location(group_id: str, count: int) -> int:
    """Return the number, from 0, of the coordinator of `group_id` among `count` of them."""
    assert count > 0
    return crc32(group_id.encode("utf-8", "surrogatepass")) % count
