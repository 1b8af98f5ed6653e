"""Tells the C library's allocator what a node's buffers are like.

Buffers of batches live for a moment to some seconds and go in large numbers. By default glibc keeps
an arena for each thread and raises its own threshold for mapped blocks, so that what is freed stays
with the process; here big blocks go back at once and all threads share one arena.
Does not: limit anything; the settings of the storage section do.
"""

import ctypes

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8

MAPPED_FROM_BYTES = 64 << 10
TRIMMED_FROM_BYTES = 1 << 20


def tune_allocator() -> bool:
    """Set the allocator's thresholds; return whether it is one that has them (glibc)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    results = [
        mallopt(M_ARENA_MAX, 1),
        mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES),
        mallopt(M_TRIM_THRESHOLD, TRIMMED_FROM_BYTES),
    ]
    return all(results)
