"""Who was wrong: the other side, the world, or (by assert) we.

A `RequestError` becomes a Kafka error code in dispatch and nowhere else. A `StorageError` stops the
replica or the node that met it. Our own mistakes are asserts; they end the process.
Does not: log or translate anything.
"""

from enum import IntEnum


class ErrorCode(IntEnum):
    """Kafka's error codes, those we can answer (Errors.java)."""

    UNKNOWN_SERVER_ERROR = -1
    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC_OR_PARTITION = 3
    LEADER_NOT_AVAILABLE = 5
    NOT_LEADER_OR_FOLLOWER = 6
    REQUEST_TIMED_OUT = 7
    REPLICA_NOT_AVAILABLE = 9
    MESSAGE_TOO_LARGE = 10
    OFFSET_METADATA_TOO_LARGE = 12
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_COORDINATOR = 16
    INVALID_TOPIC_EXCEPTION = 17
    RECORD_LIST_TOO_LARGE = 18
    NOT_ENOUGH_REPLICAS = 19
    INVALID_REQUIRED_ACKS = 21
    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    INVALID_GROUP_ID = 24
    UNKNOWN_MEMBER_ID = 25
    INVALID_SESSION_TIMEOUT = 26
    REBALANCE_IN_PROGRESS = 27
    INVALID_TIMESTAMP = 32
    UNSUPPORTED_VERSION = 35
    TOPIC_ALREADY_EXISTS = 36
    INVALID_PARTITIONS = 37
    INVALID_REPLICATION_FACTOR = 38
    INVALID_REPLICA_ASSIGNMENT = 39
    INVALID_CONFIG = 40
    NOT_CONTROLLER = 41
    INVALID_REQUEST = 42
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
    POLICY_VIOLATION = 44
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    INVALID_PRODUCER_EPOCH = 47
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
    KAFKA_STORAGE_ERROR = 56
    LOG_DIR_NOT_FOUND = 57
    NON_EMPTY_GROUP = 68
    GROUP_ID_NOT_FOUND = 69
    FETCH_SESSION_ID_NOT_FOUND = 70
    INVALID_FETCH_SESSION_EPOCH = 71
    FENCED_LEADER_EPOCH = 74
    UNKNOWN_LEADER_EPOCH = 75
    UNSUPPORTED_COMPRESSION_TYPE = 76
    OFFSET_NOT_AVAILABLE = 78
    MEMBER_ID_REQUIRED = 79
    PREFERRED_LEADER_NOT_AVAILABLE = 80
    GROUP_MAX_SIZE_REACHED = 81
    FENCED_INSTANCE_ID = 82
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83
    ELECTION_NOT_NEEDED = 84
    NO_REASSIGNMENT_IN_PROGRESS = 85
    GROUP_SUBSCRIBED_TO_TOPIC = 86
    INVALID_RECORD = 87
    UNKNOWN_TOPIC_ID = 100
    INCONSISTENT_TOPIC_ID = 103
    FETCH_SESSION_TOPIC_ID_ERROR = 106
    FENCED_MEMBER_EPOCH = 110
    UNRELEASED_INSTANCE_ID = 111
    UNSUPPORTED_ASSIGNOR = 112
    STALE_MEMBER_EPOCH = 113
    MISMATCHED_ENDPOINT_TYPE = 114
    UNSUPPORTED_ENDPOINT_TYPE = 115
    INVALID_REGULAR_EXPRESSION = 128


class TrimaranError(Exception):
    """Base of every error this package raises on purpose."""


class RequestError(TrimaranError):
    """A client (or peer) asked for what cannot be done; carries the Kafka code to answer."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        """Say what was expected and what was found in `message`; it is logged and may be sent."""
        super().__init__(message)
        self.code = code


class ProtocolError(TrimaranError):
    """Bytes that cannot be a message of the protocol; the connection is closed."""


class PeerError(TrimaranError):
    """A node-to-node connection that must not go on: wrong cluster, wrong frame, wrong version."""


class ConfigError(TrimaranError):
    """Settings that cannot be used; `problems` names every one of them with its path."""

    def __init__(self, problems: list[str]) -> None:
        """Hold one line per problem: `section.field: expected ..., found ...`."""
        super().__init__("\n".join(problems))
        self.problems = problems


class StorageError(TrimaranError):
    """The disk did not do what was asked; the process must not go on as if it had."""


class DiskFullError(StorageError):
    """ENOSPC from a write (never from a sync): nothing of the write may be counted."""


class CorruptionError(StorageError):
    """Stored bytes that fail their check, with the place of the first fault."""

    def __init__(self, path: str, position: int, found: str) -> None:
        """Name the file, the byte position of the fault, and what was expected and found there."""
        super().__init__(f"{path} at byte {position}: {found}")
        self.path = path
        self.position = position


class NotLeaderError(TrimaranError):
    """A proposal was put to a member that does not lead its group."""


class ProposalRefusedError(TrimaranError):
    """A leader takes no proposal: its uncommitted tail is full, or it is handing over."""
