"""Trimaran: a fault-tolerant event stream that any Kafka client reads and writes."""

if not __debug__:
    raise RuntimeError(
        "trimaran refuses to run under python -O: its asserts guard stored data and must stay on; "
        "start python without -O and without PYTHONOPTIMIZE"
    )

__version__ = "0.1.0"
