"""A cluster whose nodes may be broken over HTTP, with the token of the run; nothing is lost."""

import threading

import pytest

from trimaran.testing import Cluster

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def token(breakable):
    return {"trimaran-token": breakable.dashboard.partition("#token=")[2]}


@pytest.fixture(scope="module")
def breakable():
    with Cluster(nodes=3, control=True) as cluster:
        yield cluster


@pytest.fixture
def broken(breakable, api_of):
    api = api_of(breakable)
    for node in breakable.nodes:
        api.wait(lambda node=node: api.get("/health/ready", node=node).status == 200)
    return api


def leader_of(api, topic, node):
    return api.get(f"/v1/topics/{topic}/partitions/0", node=node).body["leader"]


def test_only_who_has_the_token_may(broken):
    assert broken.get("/v1/local").body["available"] is True
    path = "/v1/local/nodes/2/kill"
    assert broken.post(path, None).status == 403
    assert broken.post(path, None, headers={"trimaran-token": "x"}).status == 403
    assert broken.get("/v1/local").body["nodes"][1]["state"] == "running"


@pytest.mark.parametrize(
    ("action", "state"), [("kill", "dead"), ("freeze", "frozen"), ("cut-off", "cut-off")]
)
def test_a_leader_is_broken_replaced_and_healed(broken, token, action, state):
    topic = f"broken-{action}"
    broken.create(topic, partitions=1)
    victim = leader_of(broken, topic, 1)
    other = next(node for node in (1, 2, 3) if node != victim)
    done = broken.post(f"/v1/local/nodes/{victim}/{action}", None, node=other, headers=token)
    assert (done.status, done.body["state"]) == (202, state)

    stored = broken.publish(topic, {"value": action}, node=other, timeout_ms=20_000)
    assert stored.status == 201
    assert leader_of(broken, topic, other) != victim
    rows = broken.get("/v1/local", node=other).body["nodes"]
    assert rows[victim - 1]["state"] == state
    health = broken.get("/v1/cluster/health", node=other).body
    assert health["nodes"][victim - 1]["state"] == "unreachable"
    assert health["status"] != "ok"

    healed = broken.post(f"/v1/local/nodes/{victim}/heal", None, node=other, headers=token)
    assert healed.status == 202
    broken.wait(
        lambda: broken.get("/v1/cluster/health", node=other).body["status"] == "ok", timeout_s=30
    )
    path = f"/v1/topics/{topic}/events"
    broken.wait(lambda: broken.get(path, node=victim).body["items"][-1]["value"]["data"] == action)


def test_events_published_while_the_leader_is_killed_are_stored_once(broken, token):
    broken.create("survives", partitions=1)
    victim = leader_of(broken, "survives", 1)
    others = [node for node in (1, 2, 3) if node != victim]
    answers = []

    def publish():
        for number in range(60):
            event = {"value": number}
            answers.append(broken.publish("survives", event, node=others[0], timeout_ms=20_000))

    sender = threading.Thread(target=publish)
    sender.start()
    broken.wait(lambda: len(answers) > 15)
    killed = broken.post(f"/v1/local/nodes/{victim}/kill", None, node=others[1], headers=token)
    assert killed.status == 202
    sender.join(timeout=60)
    assert [answer.status for answer in answers] == [201] * 60

    path = "/v1/topics/survives/events?offset=0&partition=0&limit=1000"
    found = broken.get(path, node=others[1]).body["items"]
    assert [row["value"]["data"] for row in found] == list(range(60))
    offsets = [answer.body["items"][0]["offset"] for answer in answers]
    assert offsets == [row["offset"] for row in found]
    broken.post(f"/v1/local/nodes/{victim}/heal", None, node=others[0], headers=token)


def test_without_a_majority_the_outcome_is_told_as_what_it_is(broken, token):
    broken.wait(lambda: broken.get("/v1/cluster/health").body["status"] == "ok", timeout_s=30)
    broken.create("alone", partitions=1)
    leader = leader_of(broken, "alone", 1)
    others = [node for node in (1, 2, 3) if node != leader]
    for node in others:
        assert (
            broken.post(f"/v1/local/nodes/{node}/freeze", None, node=leader, headers=token).status
            == 202
        )
    answer = broken.publish("alone", {"value": 1}, node=leader, timeout_ms=2_000)
    assert answer.status in (503, 504)
    assert (answer.headers.get("retry-after") is not None) == (answer.status == 503)
    assert broken.get("/v1/cluster/health", node=leader).body["status"] == "down"
    for node in others:
        broken.post(f"/v1/local/nodes/{node}/heal", None, node=leader, headers=token)
    broken.wait(
        lambda: broken.get("/v1/cluster/health", node=leader).body["status"] == "ok", timeout_s=30
    )
