"""Consumer groups for the handlers: real groups and tables, a log that says yes."""

import asyncio

import pytest

from trimaran.broker.live_groups import LiveGroups
from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.commands import encode_command
from trimaran.groups.location import location
from trimaran.groups.table import GroupTable
from trimaran.ids import GROUPS_TOPIC_ID
from trimaran.metadata.commands import CreateTopic
from trimaran.metadata.results import TopicCreated
from trimaran.metadata.rules import GROUPS_TOPIC
from trimaran.protocol import messages as m
from trimaran.protocol.api import APIS, ApiKey

SUBSCRIPTION = b"\x00\x01\x00\x00\x00\x01\x00\x07flights\xff\xff\xff\xff"
LATEST = {api.key: api.max_version for api in APIS.values()}


class FakeCoordinator:
    """A coordinator whose log says yes at once, unless `holds`; real groups on the running loop.

    While it `refuses`, nothing can be proposed.
    """

    def __init__(self, settings, topics):
        self.settings = settings
        self.topics = topics
        self.table = GroupTable()
        self.is_leader = True
        self.live = None
        self.holds = False
        self.held = []
        self.refuses = False
        self.commands = []
        self.confirmed_count = 0

    async def ready(self):
        if not self.is_leader:
            raise RequestError(ErrorCode.NOT_COORDINATOR, "not the leader")
        if self.live is None:
            self.live = LiveGroups(self, settings=self.settings, topics=self.topics)
        return self.live

    def propose(self, command, done):
        encode_command(command)
        if self.refuses:
            raise RequestError(ErrorCode.NOT_COORDINATOR, "the log is handed over")

        def apply(committed=True):
            if committed:
                self.commands.append(command)
                self.table.apply(command, log_time_ms=len(self.commands))
            done(committed)

        if self.holds:
            self.held.append(apply)
        else:
            asyncio.get_running_loop().call_soon(apply)

    async def execute(self, command):
        outcome = asyncio.get_running_loop().create_future()
        self.propose(command, outcome.set_result)
        if not await outcome:
            raise RequestError(ErrorCode.NOT_COORDINATOR, "not the leader")

    async def confirm(self):
        if not self.is_leader:
            raise RequestError(ErrorCode.NOT_COORDINATOR, "not the leader")
        self.confirmed_count += 1

    def depose(self):
        """Lose leadership: the living groups are given up."""
        self.is_leader = False
        if self.live is not None:
            self.live.give_up()
            self.live = None


@pytest.fixture(autouse=True)
def _coordinators_are_fakes(broker):
    broker.make_coordinator = FakeCoordinator


def create_coordinators(broker, *, count=2):
    result = broker.apply(
        CreateTopic(
            name=GROUPS_TOPIC,
            topic_id=GROUPS_TOPIC_ID,
            assignments=((1, 2, 3),) * count,
            settings={},
        )
    )
    assert isinstance(result, TopicCreated), result
    return result.topic


@pytest.fixture
def coordinator(broker):
    """The coordinator of group "g", which this node leads."""
    broker.set(group=broker.kafka.group)
    topic = create_coordinators(broker)
    return broker.coordinator(location("g", len(topic.partitions)))


@pytest.fixture
def flights(broker):
    return broker.add_topic("flights", 4)


@pytest.fixture
def ask(client):
    async def send(key, request, version=None):
        return await client.ask_slowly(key, LATEST[key] if version is None else version, request)

    return send


def join_request(member_id="", *, instance_id=None, group_id="g", **changes):
    fields = {"session_timeout_ms": 10_000, "rebalance_timeout_ms": 60_000}
    return m.JoinGroupRequest(
        group_id=group_id,
        member_id=member_id,
        group_instance_id=instance_id,
        protocol_type="consumer",
        protocols=[m.JoinGroupRequestProtocol(name="range", metadata=SUBSCRIPTION)],
        **(fields | changes),
    )


@pytest.fixture
def joined(client, clock, coordinator, settle):
    """Return what joins group "g" in a version and has the first generation begin."""

    async def join(version=9, **changes):
        live = await coordinator.ready()
        member_id = ""
        if version >= 4 and changes.get("instance_id") is None:
            told = await client.ask_slowly(ApiKey.JOIN_GROUP, version, join_request(**changes))
            assert told.error_code == ErrorCode.MEMBER_ID_REQUIRED
            member_id = told.member_id
        call = client.send(ApiKey.JOIN_GROUP, version, join_request(member_id, **changes))
        await settle(lambda: len(live.get("g").roster) if live.is_known("g") else False)
        end_the_wait(live)
        await settle(lambda: client.has_answered(call))
        return client.answer_of(call)

    return join


def end_the_wait(live):
    """Let the first members' wait for more be over."""
    group = live._groups["g"]
    group.tick(now_ms=group.next_deadline_ms)
    live._carry_out(group)


@pytest.fixture
def stable(joined, ask):
    """Return what makes one member stable and returns its id."""

    async def make():
        answer = await joined()
        member_id = answer.member_id
        assignment = m.SyncGroupRequestAssignment(member_id=member_id, assignment=b"part")
        synced = await ask(
            ApiKey.SYNC_GROUP,
            m.SyncGroupRequest(
                group_id="g", generation_id=1, member_id=member_id, assignments=[assignment]
            ),
        )
        assert (synced.error_code, synced.assignment) == (ErrorCode.NONE, b"part")
        return member_id

    return make


def commit_request(*rows, member_id="", generation=-1, topic="flights", instance_id=None):
    return m.OffsetCommitRequest(
        group_id="g",
        generation_id_or_member_epoch=generation,
        member_id=member_id,
        group_instance_id=instance_id,
        topics=[
            m.OffsetCommitRequestTopic(
                name=topic,
                partitions=[
                    m.OffsetCommitRequestPartition(
                        partition_index=number, committed_offset=offset, committed_metadata=text
                    )
                    for number, offset, text in rows
                ],
            )
        ],
    )


def codes_of(answer):
    return [row.error_code for topic in answer.topics for row in topic.partitions]


@pytest.fixture(name="create_coordinators")
def _create_coordinators(broker):
    """What creates the topic of coordinators; this node has a replica of each."""
    return lambda: create_coordinators(broker)


@pytest.fixture(name="join_request")
def _join_request():
    return join_request


@pytest.fixture(name="commit_request")
def _commit_request():
    return commit_request


@pytest.fixture(name="codes_of")
def _codes_of():
    return codes_of


@pytest.fixture
def subscription():
    """What members say: they want topic "flights"."""
    return SUBSCRIPTION


async def positions_of(ask, version, group_id="g", *numbers, topic="flights"):
    """Return (number, offset, text) of each partition, and the error."""
    topics = [m.OffsetFetchRequestTopic(name=topic, partition_indexes=numbers)]
    later = [m.OffsetFetchRequestTopics(name=topic, partition_indexes=numbers)]
    groups = [
        m.OffsetFetchRequestGroup(group_id=group_id, topics=later if numbers else None),
    ]
    request = m.OffsetFetchRequest(
        group_id=group_id, topics=topics if numbers else None, groups=groups
    )
    answer = await ask(ApiKey.OFFSET_FETCH, request, version)
    found = answer.groups[0] if version >= 8 else answer
    rows = [row for topic in found.topics for row in topic.partitions]
    return found.error_code, [
        (row.partition_index, row.committed_offset, row.metadata) for row in rows
    ]


@pytest.fixture
def positions(ask):
    """What returns the error of an OffsetFetch and (number, offset, text) of each partition."""

    async def fetch(version, *words, **changes):
        return await positions_of(ask, version, *words, **changes)

    return fetch
