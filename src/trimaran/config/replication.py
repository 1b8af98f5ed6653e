"""The section `replication` of a node.

Does not: stand alone (`sections` is the table).
"""

from typing import Self

from pydantic import Field, model_validator

from trimaran.config.section import GIB, KIB, MIB, Section


class ReplicationSection(Section):
    """Rounds, heartbeats, elections; the same on every node."""

    batch_max_events: int = Field(
        default=64,
        ge=1,
        le=100_000,
        description="Events that wait for a running sync before followers are sent them.",
    )
    batch_linger_ms: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description="Longest wait for that many; no wait at all while no sync runs.",
    )
    round_bytes_max: int = Field(
        default=4 * MIB,
        ge=64 * KIB,
        le=64 * MIB,
        description="Bytes of one journal round; a single larger batch goes alone.",
    )
    heartbeat_ms: int = Field(
        default=30, ge=5, le=1_000, description="Time between heartbeats to each peer."
    )
    election_timeout_min_ms: int = Field(
        default=150,
        ge=20,
        le=10_000,
        description="Shortest silence of a leader after which a follower campaigns.",
    )
    election_timeout_max_ms: int = Field(
        default=300, ge=20, le=20_000, description="Longest; each follower draws in between."
    )
    rank_delay_ms: int = Field(
        default=20,
        ge=0,
        le=1_000,
        description="After a broken connection: wait times a follower's rank before it campaigns.",
    )
    quorum_lost_ms: int = Field(
        default=400,
        ge=50,
        le=30_000,
        description="A leader that heard no majority for so long steps down.",
    )
    forced_recovery: bool = Field(
        default=False,
        description="After the loss of a majority: go on with the longest log that is left, "
        "whatever the lost disks held. For one start of all nodes (docs/operations.md).",
    )
    lag_max_ms: int = Field(
        default=3_000,
        ge=100,
        le=600_000,
        description="A follower that has not synced what was committed so long ago is not in sync.",
    )
    metadata_park_ms: int = Field(
        default=400,
        ge=0,
        le=5_000,
        description="How long Metadata waits for a new leader before it says there is none.",
    )
    inflight_messages_max: int = Field(
        default=64,
        ge=1,
        le=4_096,
        description="Unanswered append messages per partition and follower.",
    )
    inflight_bytes_max: int = Field(
        default=16 * MIB,
        ge=64 * KIB,
        le=GIB,
        description="Bytes of entries in them; one message always goes.",
    )
    message_bytes_max: int = Field(
        default=MIB,
        ge=64 * KIB,
        le=32 * MIB,
        description="Bytes of entries in one append message; one entry always fits.",
    )
    uncommitted_bytes_max: int = Field(
        default=64 * MIB,
        ge=MIB,
        le=4 * GIB,
        description="Bytes a partition holds without majority before it refuses produce.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if self.election_timeout_max_ms <= self.election_timeout_min_ms:
            problems.append(
                f"election_timeout_max_ms: expected above election_timeout_min_ms,"
                f" {self.election_timeout_min_ms}, found {self.election_timeout_max_ms}"
            )
        if self.heartbeat_ms * 2 > self.election_timeout_min_ms:
            problems.append(
                f"heartbeat_ms: expected at most half of election_timeout_min_ms,"
                f" {self.election_timeout_min_ms}, found {self.heartbeat_ms}"
            )
        if self.quorum_lost_ms < self.election_timeout_min_ms:
            problems.append(
                f"quorum_lost_ms: expected at least election_timeout_min_ms,"
                f" {self.election_timeout_min_ms}, found {self.quorum_lost_ms}"
            )
        return self._checked(problems)
