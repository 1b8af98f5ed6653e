"""One invariant per module. Each is a class that looks (`step`) or judges at the end (`finish`).

`ALL` is what a run uses. To add an invariant is one file here and one line in `ALL`.
"""

from trimaran.sim.checkers.acknowledged_never_lost import AcknowledgedNeverLost
from trimaran.sim.checkers.answers_are_true import AnswersAreTrue
from trimaran.sim.checkers.answers_expected import AnswersExpected
from trimaran.sim.checkers.checker import Checker, Evidence, Eyes, evidence_of
from trimaran.sim.checkers.commit_and_term_monotone import CommitAndTermMonotone
from trimaran.sim.checkers.committed_offsets_kept import CommittedOffsetsKept
from trimaran.sim.checkers.compaction import Compaction
from trimaran.sim.checkers.damaged_never_votes import DamagedNeverVotes
from trimaran.sim.checkers.event_ids_equal import EventIdsEqual
from trimaran.sim.checkers.fetches_woken import FetchesWoken
from trimaran.sim.checkers.group_generations_rise import GroupGenerationsRise
from trimaran.sim.checkers.group_tables_equal import GroupTablesEqual
from trimaran.sim.checkers.history_without_anomaly import HistoryWithoutAnomaly
from trimaran.sim.checkers.leader_completeness import LeaderCompleteness
from trimaran.sim.checkers.log_matching import LogMatching
from trimaran.sim.checkers.log_start_monotone import LogStartMonotone
from trimaran.sim.checkers.match_is_true import MatchIsTrue
from trimaran.sim.checkers.metadata_equal import MetadataEqual
from trimaran.sim.checkers.offsets_follow import OffsetsFollow
from trimaran.sim.checkers.one_committed_value import OneCommittedValue
from trimaran.sim.checkers.one_leader_per_term import OneLeaderPerTerm
from trimaran.sim.checkers.order_per_producer import OrderPerProducer
from trimaran.sim.checkers.partitions_owned_once import PartitionsOwnedOnce
from trimaran.sim.checkers.power_cut_loses_nothing import PowerCutLosesNothing
from trimaran.sim.checkers.producer_sequences_stored_once import ProducerSequencesStoredOnce
from trimaran.sim.checkers.producer_state_equal import ProducerStateEqual
from trimaran.sim.checkers.reads_committed_only import ReadsCommittedOnly
from trimaran.sim.checkers.refused_never_read import RefusedNeverRead
from trimaran.sim.checkers.replicas_end_equal import ReplicasEndEqual
from trimaran.sim.checkers.segments_identical import SegmentsIdentical
from trimaran.sim.checkers.settings_kept import SettingsKept
from trimaran.sim.checkers.synced_is_durable import SyncedIsDurable

ALL: tuple[type[Checker], ...] = (
    OneLeaderPerTerm,
    LogMatching,
    LeaderCompleteness,
    OneCommittedValue,
    OffsetsFollow,
    CommitAndTermMonotone,
    MatchIsTrue,
    ProducerStateEqual,
    EventIdsEqual,
    GroupTablesEqual,
    MetadataEqual,
    LogStartMonotone,
    DamagedNeverVotes,
    AcknowledgedNeverLost,
    ProducerSequencesStoredOnce,
    OrderPerProducer,
    RefusedNeverRead,
    ReadsCommittedOnly,
    HistoryWithoutAnomaly,
    CommittedOffsetsKept,
    GroupGenerationsRise,
    PartitionsOwnedOnce,
    ReplicasEndEqual,
    SegmentsIdentical,
    Compaction,
    SettingsKept,
    SyncedIsDurable,
    PowerCutLosesNothing,
    AnswersAreTrue,
    AnswersExpected,
    FetchesWoken,
)

__all__ = [
    "ALL",
    "AcknowledgedNeverLost",
    "AnswersAreTrue",
    "AnswersExpected",
    "Checker",
    "CommitAndTermMonotone",
    "CommittedOffsetsKept",
    "Compaction",
    "DamagedNeverVotes",
    "EventIdsEqual",
    "Evidence",
    "Eyes",
    "FetchesWoken",
    "GroupGenerationsRise",
    "GroupTablesEqual",
    "HistoryWithoutAnomaly",
    "LeaderCompleteness",
    "LogMatching",
    "LogStartMonotone",
    "MatchIsTrue",
    "MetadataEqual",
    "OffsetsFollow",
    "OneCommittedValue",
    "OneLeaderPerTerm",
    "OrderPerProducer",
    "PartitionsOwnedOnce",
    "PowerCutLosesNothing",
    "ProducerSequencesStoredOnce",
    "ProducerStateEqual",
    "ReadsCommittedOnly",
    "RefusedNeverRead",
    "ReplicasEndEqual",
    "SegmentsIdentical",
    "SettingsKept",
    "SyncedIsDurable",
    "evidence_of",
]
