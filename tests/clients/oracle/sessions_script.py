"""The conversation about fetch sessions (KIP-227). See `__main__`."""

import time

from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    CreatableTopic,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteTopicState,
    FetchPartition,
    FetchRequest,
    FetchTopic,
    ForgottenTopic,
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record

TOPIC = "in-sessions"
NOBODY = bytes(16)
NO_SESSION, ONE_TOO_HIGH = 0, 1
READY_S = 20.0


class Session:
    """A reader that keeps a fetch session, step by step."""

    def __init__(self, talk):
        self.talk = talk
        self.session_id = NO_SESSION
        self.epoch = 0

    def fetch(self, name, *offsets, forget=(), version=12, epoch=None, session_id=None, **fields):
        """Name (partition, offset) pairs; the next epoch unless another is given."""
        parts = [
            FetchPartition(partition=number, fetch_offset=offset, partition_max_bytes=100_000)
            for number, offset in offsets
        ]
        gone = [ForgottenTopic(topic=TOPIC, topic_id=NOBODY, partitions=list(forget))]
        request = FetchRequest(
            topics=[FetchTopic(topic=TOPIC, topic_id=NOBODY, partitions=parts)] if parts else [],
            forgotten_topics_data=gone if forget else [],
            session_id=self.session_id if session_id is None else session_id,
            session_epoch=self.epoch if epoch is None else epoch,
            **{"max_wait_ms": 0, "min_bytes": 0} | fields,
        )
        answer = self.talk.step(f"session: {name}", ApiKey.FETCH, version, request)
        if answer is not None and answer.error_code == 0 and epoch is None:
            self.note(name, answer)
        return answer

    def note(self, name, answer):
        """What is masked in the answer, but tells: whether the session lives and is the same."""
        note = self.talk.notes[f"session: {name}"]
        note["has_session"] = answer.session_id != NO_SESSION
        note["is_same_session"] = answer.session_id == self.session_id
        self.session_id = answer.session_id
        self.epoch += 1


def append(talk, partition):
    now_ms = int(time.time() * 1000)  # noqa: TID251
    batch = build_batch([Record(offset=0, timestamp_ms=now_ms, key=b"k", value=b"v", headers=())])
    data = [PartitionProduceData(index=partition, records=bytes(batch))]
    request = ProduceRequest(
        transactional_id=None,
        acks=-1,
        timeout_ms=10_000,
        topic_data=[TopicProduceData(name=TOPIC, partition_data=data)],
    )
    deadline = time.monotonic() + READY_S
    while talk.ask(ApiKey.PRODUCE, 9, request).responses[0].partition_responses[0].error_code:
        assert time.monotonic() < deadline, "Kafka's leaders are there some time after the topic"


def make_topic(talk, count):
    """Create the topic, again if it was just deleted, and wait for its leaders."""
    topic = CreatableTopic(name=TOPIC, num_partitions=count, replication_factor=1)
    request = CreateTopicsRequest(topics=[topic], timeout_ms=10_000)
    deadline = time.monotonic() + READY_S
    while talk.ask(ApiKey.CREATE_TOPICS, 7, request).topics[0].error_code:
        assert time.monotonic() < deadline
    for partition in range(count):
        asked = FetchPartition(partition=partition, fetch_offset=0, partition_max_bytes=1)
        fetch = FetchRequest(
            topics=[FetchTopic(topic=TOPIC, topic_id=NOBODY, partitions=[asked])],
            max_wait_ms=0,
            min_bytes=0,
            session_epoch=-1,
        )
        while talk.ask(ApiKey.FETCH, 11, fetch).responses[0].partitions[0].error_code:
            assert time.monotonic() < deadline


def sessions(talk):
    make_topic(talk, 4)
    for partition in range(3):
        append(talk, partition)
    one = Session(talk)
    one.fetch("opened", (0, 0), (1, 0), (2, 1))
    one.fetch("nothing read yet, so all again")
    one.fetch("read on", (0, 1), (1, 1))
    one.fetch("no news")
    append(talk, 1)
    one.fetch("one partition has news")
    one.fetch("it was not read on, so it comes again")
    one.fetch("read on with a partition more", (1, 2), (3, 0))
    one.fetch("an epoch that was used", epoch=one.epoch - 1)
    one.fetch("an epoch to come", epoch=one.epoch + ONE_TOO_HIGH)
    one.fetch("still there")
    one.fetch("another way to name topics", version=13)
    one.fetch("one forgotten", forget=(1,))
    append(talk, 1)
    one.fetch("no news of what was forgotten")
    one.fetch("an unknown partition joins", (9, 0))
    one.fetch("it is told each time")
    one.fetch("it is forgotten", forget=(9,))
    one.fetch("past the end", (0, 50))
    one.fetch("past the end, told each time")
    one.fetch("back again", (0, 1))
    one.fetch("what is not there is forgotten", forget=(77,))
    one.fetch("named and forgotten at once", (1, 2), forget=(1,))
    one.fetch("a wait of 50 ms for nothing", max_wait_ms=50, min_bytes=1)
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name=TOPIC)], timeout_ms=10_000)
    talk.ask(ApiKey.DELETE_TOPICS, 6, request)
    one.fetch("its topic is deleted")
    one.fetch("closed and started anew", (0, 0), epoch=0)


def closings(talk):
    make_topic(talk, 2)
    two = Session(talk)
    two.fetch("opened for the end", (0, 0))
    last = two.session_id
    two.fetch("closed, with a last answer", (0, 0), epoch=-1)
    two.fetch("after it was closed", epoch=1, session_id=last)
    three = Session(talk)
    three.fetch("opened with nothing")
    three.fetch("opened in version 6", (0, 0), version=6)
    four = Session(talk)
    four.fetch("opened to be emptied", (0, 0), (1, 0))
    four.fetch("emptied", forget=(0, 1))
    four.fetch("after it was emptied", epoch=2)


SCRIPT = (sessions, closings)
