"""The clients of one run: who produces, who reads, how, and how they end.

| client | does, on every partition of the topic |
|---|---|
| client-1 | idempotent producer; reader of the tail; member of groups; writes a compacted topic |
| client-2 | idempotent producer; reader from the start; member of groups; trims a topic |
| client-3 | plain producer, acks=all; reader from the start; sends again by event id alone |
| client-4 | plain producer, acks=1 or 0 (drawn); makes and deletes topics; changes settings |

In half of the seeds client-2 reads from followers near it (KIP-392), in half client-3 reads in
fetch sessions (KIP-227). A seed with groups has one of the classic protocol, one of the new one
(KIP-848), or both.

Does not: judge what they saw.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from random import Random
from typing import Any

from trimaran.sim.churn import TopicChurn
from trimaran.sim.client import (
    ALL_REPLICAS,
    LEADER_ONLY,
    NOBODY,
    PartitionConsumer,
    PartitionProducer,
)
from trimaran.sim.cluster import SimCluster
from trimaran.sim.consumer_member import ConsumerMember
from trimaran.sim.group_member import GroupMember
from trimaran.sim.history import History
from trimaran.sim.id_sender import TOPIC as IDS_TOPIC
from trimaran.sim.id_sender import IdSender
from trimaran.sim.kafka import KafkaClient
from trimaran.sim.keyed_writer import TOPIC as LEDGER
from trimaran.sim.keyed_writer import KeyedWriter
from trimaran.sim.near_reader import NearReader
from trimaran.sim.network import HostNetwork
from trimaran.sim.process import Process
from trimaran.sim.session_reader import SessionReader
from trimaran.sim.settings_changer import SettingsChanger
from trimaran.sim.tail import TailReader
from trimaran.sim.trimmer import TOPIC as TRIMMED_TOPIC
from trimaran.sim.trimmer import Trimmer

TOPIC = "events"
PARTITIONS = 2
CLIENTS_MAX = 4
THINK_S = (0.4, 0.7, 1.1)
"""Mean pause between two batches of a producer: one of these for all producers of a run."""
TAIL_ANEW_S = 3.0
FEATURE = 0.5
"""Share of the seeds that use each of: a compacted topic, a consumer group, a trimmed topic."""
CLASSIC, NEW = "classic", "new"
PROTOCOLS = ((CLASSIC,), (NEW,), (CLASSIC, NEW))
"""Of the groups of a seed that has groups: one of these."""


class Crowd:
    """All clients of one run, each on a machine of its own."""

    def __init__(self, cluster: SimCluster, history: History, *, seed: int, count: int) -> None:
        """Make the machines of the first `count` clients; nobody does anything yet."""
        assert 1 <= count <= CLIENTS_MAX
        self.names = [f"client-{number}" for number in range(1, count + 1)]
        self.churn: TopicChurn | None = None
        self.tails: list[TailReader] = []
        self.near_readers: list[NearReader] = []
        self.session_reader: SessionReader | None = None
        self.id_sender: IdSender | None = None
        self.trimmer: Trimmer | None = None
        self.changer: SettingsChanger | None = None
        self.members: list[GroupMember] = []
        self.sharers: list[ConsumerMember] = []
        self._cluster = cluster
        self._history = history
        self._seed = seed
        self._chance = Random(f"{seed}/crowd")
        self._client_count = 0
        self._stops: list[Callable[[], None]] = []
        self.work: list[asyncio.Task[Any]] = []
        """What runs, named for people."""

    def client(self, name: str, *, host: str) -> KafkaClient:
        """Return the client of a new process on machine `host`."""
        process = self._cluster.loop.new_process(name, host)
        return self._client_of(process, TOPIC, self._history)

    @property
    def given_up_topics(self) -> Mapping[bytes, str]:
        """Ids of topics whose deletion was asked for: nothing is promised of them any more."""
        return self.churn.gone if self.churn is not None else {}

    @property
    def deleted_topics(self) -> Mapping[bytes, str]:
        """Ids of topics whose deletion was acknowledged."""
        return self.churn.deleted if self.churn is not None else {}

    def start(self) -> None:
        """Let everybody begin."""
        think_s = self._chance.choice(THINK_S)
        weak_acks = self._chance.choice((LEADER_ONLY, NOBODY))
        for number, name in enumerate(self.names, 1):
            process = self._cluster.loop.new_process(name, name)
            client = self._client_of(process, TOPIC, self._history)
            for partition in range(PARTITIONS):
                producer = PartitionProducer(
                    client,
                    partition,
                    think_s=think_s,
                    idempotent=number <= 2,
                    acks=weak_acks if number == 4 else ALL_REPLICAS,
                    is_alone=len(self._cluster.nodes) == 1,
                )
                self._start(process, "producer", producer.run(), producer.stop)
                if number == 1:
                    tail = TailReader(client, partition, anew_s=TAIL_ANEW_S)
                    self.tails.append(tail)
                    self._start(process, "tail reader", tail.run(), tail.stop)
            if number in (2, 3):
                self._start_readers(number, process, client)
            self._start_features(number, process, think_s)

    def _start_readers(self, number: int, process: Process, client: KafkaClient) -> None:
        """Start what reads from the start on client 2 or 3."""
        if number == 3 and self._has("session reader"):
            nodes = [node.number for node in self._cluster.nodes]
            self.session_reader = SessionReader(client, range(PARTITIONS), nodes)
            self._start(
                process, "session reader", self.session_reader.run(), self.session_reader.stop
            )
            return
        is_near = number == 2 and self._has("near reader")
        for partition in range(PARTITIONS):
            into = self._history.reads.setdefault((client.name, partition), [])
            if is_near:
                rack = client.chance.choice(self._cluster.nodes).rack
                near = NearReader(client, partition, into=into, rack=rack)
                self.near_readers.append(near)
                self._start(process, "near reader", near.run(), near.stop)
            else:
                consumer = PartitionConsumer(client, partition, into=into)
                self._start(process, "consumer", consumer.run(), consumer.stop)

    def _start_features(self, number: int, process: Process, think_s: float) -> None:
        """Start what else client `number` does."""
        protocols = self._protocols() if number <= 2 else ()
        if number == 1 and self._has("keyed writer"):
            self._start_keyed_writer(process)
        if CLASSIC in protocols:
            self._start_member(process)
        if NEW in protocols:
            self._start_sharer(process)
        if number == 2 and self._has("trimmer"):
            self._start_trimmer(process)
        if number == 3:
            self._start_id_sender(process, think_s)
        if number == 4:
            self._start_churn(process)
            if self._has("settings changer"):
                self._start_changer(process)

    def sharing(self) -> dict[str, int]:
        """Return what happened in the group of the new protocol, by name."""
        return {
            "member taken in": sum(one.joins for one in self.sharers),
            "member fenced": sum(one.fencings for one in self.sharers),
            "partition handed over": sum(one.hand_overs for one in self.sharers),
            "epoch's offset committed": sum(one.commits for one in self.sharers),
        }

    def reading(self) -> dict[str, int]:
        """Return what happened to the readers of this seed that read otherwise, by name."""
        counts = {
            "read from a follower": sum(one.follower_reads for one in self.near_readers),
            "reader ahead of a follower": sum(one.waits for one in self.near_readers),
        }
        if self.session_reader is not None:
            counts |= {
                "fetch session": self.session_reader.sessions,
                "session ended by an error": self.session_reader.session_errors,
                "left out of a session": self.session_reader.forgotten,
            }
        return counts

    def group_commits(self) -> dict[str, int]:
        """Return how many commits were acknowledged, by protocol; only those of this seed."""
        classic = {CLASSIC: sum(one.commits for one in self.members)} if self.members else {}
        new = {NEW: sum(one.commits for one in self.sharers)} if self.sharers else {}
        return classic | new

    def stop(self) -> None:
        """Ask everybody to end: no new batches, no more reads."""
        for stop in self._stops:
            stop()

    def _has(self, feature: str) -> bool:
        """Whether this seed uses `feature`."""
        return Random(f"{self._seed}/{feature}").random() < FEATURE

    def _protocols(self) -> tuple[str, ...]:
        """Return the protocols of this seed's groups."""
        if not self._has("group"):
            return ()
        return Random(f"{self._seed}/group protocol").choice(PROTOCOLS)

    def _start_churn(self, process: Process) -> None:
        churn = TopicChurn(
            lambda topic, notes: self._client_of(process, topic, notes), self._history
        )
        self.churn = churn
        self._start(process, "topic churn", churn.run(), churn.stop)

    def _start_changer(self, process: Process) -> None:
        changer = SettingsChanger(self._client_of(process, TOPIC, self._history), self._history)
        self.changer = changer
        self._start(process, "settings changer", changer.run(), changer.stop)

    def _start_id_sender(self, process: Process, think_s: float) -> None:
        notes = History(answers=self._history.answers)
        client = self._client_of(process, IDS_TOPIC, notes)
        client.creates = False
        self.id_sender = IdSender(client, self._history, think_s=think_s)
        self._start(process, "id sender", self.id_sender.run(), self.id_sender.stop)

    def _start_keyed_writer(self, process: Process) -> None:
        notes = History(answers=self._history.answers)
        client = self._client_of(process, LEDGER, notes)
        client.creates = False
        writer = KeyedWriter(client, self._history)
        self._start(process, "keyed writer", writer.run(), writer.stop)

    def _start_member(self, process: Process) -> None:
        client = self._client_of(process, TOPIC, self._history)
        member = GroupMember(client, range(PARTITIONS))
        self.members.append(member)
        self._start(process, "group member", member.run(), member.stop)

    def _start_sharer(self, process: Process) -> None:
        client = self._client_of(process, TOPIC, self._history)
        member = ConsumerMember(client, Random(f"{self._seed}/{process.name}/sharer"))
        self.sharers.append(member)
        self._start(process, "sharing member", member.run(), member.stop)

    def _start_trimmer(self, process: Process) -> None:
        notes = History(answers=self._history.answers)
        client = self._client_of(process, TRIMMED_TOPIC, notes)
        client.creates = False
        self.trimmer = Trimmer(client, self._history)
        self._start(process, "trimmer", self.trimmer.run(), self.trimmer.stop)

    def _client_of(self, process: Process, topic: str, history: History) -> KafkaClient:
        self._client_count += 1
        return KafkaClient(
            name=process.name,
            topic=topic,
            network=HostNetwork(self._cluster.network, process),
            bootstrap=self._cluster.bootstrap,
            chance=Random(f"{self._seed}/{process.name}/{topic}/{self._client_count}"),
            history=history,
        )

    def _start(
        self,
        process: Process,
        name: str,
        work: Coroutine[Any, Any, None],
        stop: Callable[[], None],
    ) -> None:
        self.work.append(process.start(work, name=name))
        self._stops.append(stop)
