"""The allocator is tuned where it can be."""

import platform

from trimaran.server.memory import tune_allocator


def test_glibc_takes_the_thresholds():
    assert tune_allocator() or platform.libc_ver()[0] != "glibc"
