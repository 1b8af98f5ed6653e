"""Judges what Kafka clients did and saw: a history of operations in, anomalies out. Pure."""

from trimaran.checking.anomaly import ALLOWED, Anomaly, Finding
from trimaran.checking.check import check_history
from trimaran.checking.evidence import HistoryError
from trimaran.checking.operations import (
    Assign,
    EndRead,
    History,
    Operation,
    Outcome,
    Partition,
    Poll,
    Seek,
    Send,
)
from trimaran.checking.payload import Payload, make_value, parse_value

__all__ = [
    "ALLOWED",
    "Anomaly",
    "Assign",
    "EndRead",
    "Finding",
    "History",
    "HistoryError",
    "Operation",
    "Outcome",
    "Partition",
    "Payload",
    "Poll",
    "Seek",
    "Send",
    "check_history",
    "make_value",
    "parse_value",
]
