"""REST: groups with members of a real client, of the new protocol (KIP-848); lag over time."""

import threading
import time
from itertools import chain
from urllib.parse import quote

import pytest
from confluent_kafka import Consumer, TopicPartition

pytestmark = pytest.mark.cluster

WAIT_S = 20.0
PARTITIONS = 4


class Reader(threading.Thread):
    """A consumer that polls until it is closed; whatever it reads is dropped."""

    def __init__(self, bootstrap, group, topic):
        super().__init__(daemon=True)
        self.stopping = threading.Event()
        self.consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "group.protocol": "consumer",
                "client.id": "reader",
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )
        self.consumer.subscribe([topic])
        self.start()

    def run(self):
        while not self.stopping.is_set():
            self.consumer.poll(0.05)
        self.consumer.close()

    def close(self):
        self.stopping.set()
        self.join(WAIT_S)


@pytest.fixture
def readers_of(api):
    started = []

    def start(group, topic, count):
        bootstrap = api.cluster.bootstrap_servers
        started.extend(Reader(bootstrap, group, topic) for _ in range(count))
        return started

    yield start
    for reader in started:
        reader.close()


def wait_for(api, group, wanted):
    """Return the group once `wanted` holds for it."""
    deadline = time.monotonic() + WAIT_S
    while True:
        answer = api.get(f"/v1/groups/{group}")
        if answer.status == 200 and wanted(answer.body):
            return answer.body
        assert time.monotonic() < deadline, answer.body


def given(group):
    """Return the partitions that each member has."""
    return [
        [(part["topic"], number) for part in member["assignment"] for number in part["partitions"]]
        for member in group["members"]
    ]


def test_a_group_of_the_new_protocol_is_shown_as_it_is(api, readers_of):
    api.create("new-groups", partitions=PARTITIONS)
    for number in range(PARTITIONS):
        assert api.publish("new-groups", {"value": number, "partition": number}).status == 201
    readers = readers_of("new", "new-groups", 2)

    group = wait_for(api, "new", lambda found: [len(one) for one in given(found)] == [2, 2])
    whole = [("new-groups", number) for number in range(PARTITIONS)]
    assert sorted(chain.from_iterable(given(group))) == whole
    assert wait_for(api, "new", lambda found: found["state"] == "Stable")["members"]
    assert (group["protocol_type"], group["protocol"]) == ("consumer", "uniform")
    assert [member["client_id"] for member in group["members"]] == ["reader", "reader"]
    owners = {
        (name, number): member["member_id"]
        for member, places in zip(group["members"], given(group), strict=True)
        for name, number in places
    }
    rows = {(row["topic"], row["partition"]): row["member_id"] for row in group["partitions"]}
    assert rows == owners
    (listed,) = api.get("/v1/groups?search=new").body["items"]
    assert (listed["state"], listed["members"]) == ("Stable", 2)

    body = {"topic": "new-groups", "to": {"kind": "latest"}, "dry_run": False}
    refused = api.post("/v1/groups/new/reset-offsets", body)
    assert (refused.status, "2 members" in refused.body["detail"]) == (409, True)
    for reader in readers:
        reader.close()
    empty = wait_for(api, "new", lambda found: found["state"] == "Empty")
    assert empty["members"] == []
    assert api.post("/v1/groups/new/reset-offsets", body).status == 200
    assert api.get("/v1/groups/new").body["lag_events"] == 0
    assert api.ask("DELETE", "/v1/groups/new").status == 204
    assert api.get("/v1/groups/new").status == 404


def test_the_history_tells_how_far_behind_a_group_was(api):
    topic, group = "history-of-lag", "late, reader"
    name = f"group/{quote(group)}"
    api.create(topic, partitions=1)
    assert api.publish(topic, *({"value": number} for number in range(10))).status == 201
    commit(api, group, topic, 4)

    rows = api.wait(lambda: told_lag(api, name, lambda events: events == 6))
    assert max(value for value in rows["lag_s"] if value is not None) > 0
    commit(api, group, topic, 10)
    rows = api.wait(lambda: told_lag(api, name, lambda events: events == 0))
    assert 6.0 in rows["lag_events"], "what was before is still there"
    coordinator = api.get(f"/v1/groups/{quote(group)}").body["coordinator"]
    text = api.get("/metrics", node=coordinator).raw.decode()
    assert f'trimaran_consumer_group_lag_events{{group="{group}"}} 0.0' in text


def commit(api, group, topic, offset):
    consumer = Consumer(
        {"bootstrap.servers": api.cluster.bootstrap_servers, "group.id": group, "log_level": 0}
    )
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


def told_lag(api, name, holds):
    """Return the samples of the group's coordinator once the newest lag is one that holds."""
    wanted = [f"{name}/lag_events", f"{name}/lag_s"]
    answer = api.get(f"/v1/metrics/history?seconds=60&series={quote(','.join(wanted))}")
    assert answer.status == 200, answer.body
    for rows in answer.body["nodes"].values():
        events = [value for value in rows.get(wanted[0], []) if value is not None]
        if events and holds(events[-1]):
            return {key.rpartition("/")[2]: row for key, row in rows.items()}
    return None
