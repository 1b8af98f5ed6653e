"""The REST API of a real cluster: every noun, from any node."""

import base64
import urllib.parse

import pytest

from trimaran.dedup.event_ids import hash_id
from trimaran.server.http.topic_rows import GROUPS_SHOWN

pytestmark = pytest.mark.cluster


def test_every_answer_names_the_node_that_gave_it(api):
    for node in (1, 2, 3):
        answer = api.get("/v1/cluster", node=node)
        assert answer.body["served_by"] == node
        assert answer.headers["trimaran-node"] == str(node)


def test_health_tells_the_state_of_all_nodes(api):
    health = api.wait_well()
    assert health["problems"] == []
    assert [(row["node_id"], row["state"], row["ready"]) for row in health["nodes"]] == [
        (1, "up", True),
        (2, "up", True),
        (3, "up", True),
    ]
    assert api.get("/health/live").body["status"] == "live"


def test_a_node_is_told_in_its_own_words(api):
    page = api.get("/v1/nodes", node=2).body
    assert [row["facts"]["node_id"] for row in page["items"]] == [1, 2, 3]
    one = api.get("/v1/nodes/3").body
    assert one["facts"]["pid"] == api.cluster.pid(3)
    assert api.get("/v1/nodes/9").status == 404


def test_a_topic_is_created_listed_altered_and_deleted(api):
    created = api.create("life", partitions=2, config={"retention.ms": "60000"})
    assert (created["partitions"], created["replication_factor"]) == (2, 3)
    assert api.get("/v1/topics/life", node=3).body["topic_id"] == created["topic_id"]
    assert api.post("/v1/topics", {"name": "life"}).status == 409

    change = {"partitions": 3, "config": {"retention.ms": None, "segment.ms": "7000"}}
    assert api.ask("PATCH", "/v1/topics/life", change, node=2).body["partitions"] == 3
    rows = {row["name"]: row for row in api.get("/v1/topics/life/config").body["items"]}
    assert (rows["segment.ms"]["value"], rows["segment.ms"]["source"]) == ("7000", "topic")
    assert (rows["retention.ms"]["value"], rows["retention.ms"]["source"]) == ("-1", "default")
    assert rows["retention.ms"]["allowed"].startswith("long from")

    assert api.ask("DELETE", "/v1/topics/life", node=3).status == 204
    assert api.get("/v1/topics/life", node=3).status == 404


def test_a_dry_run_creates_nothing(api):
    assert api.post("/v1/topics", {"name": "dry", "dry_run": True}).status == 204
    assert api.get("/v1/topics/dry").status == 404


def test_long_lists_come_in_pages(api):
    for number in range(5):
        api.create(f"page-{number}", partitions=1)
    names, after = [], ""
    for _ in range(5):
        page = api.get(f"/v1/topics?search=page-&limit=2{after}").body
        names += [row["name"] for row in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert names == [f"page-{number}" for number in range(5)]
    assert page["total"] == 5


def test_a_nodes_replicas_come_in_pages_though_one_topics_name_begins_anothers(api):
    names = ("begun", "begun-dlq", "begun.retry")
    for name in names:
        api.create(name, partitions=4)

    def listed():
        page = api.get("/v1/node/partitions?limit=5", node=2).body
        rows, pages_max = page["items"], page["total"]
        while page["next"] is not None:
            assert (pages_max := pages_max - 1) > 0, "the pages repeat"
            page = api.get(f"/v1/node/partitions?limit=5&after={page['next']}", node=2).body
            rows += page["items"]
        return [(row["topic"], row["partition"]) for row in rows]

    wanted = {(name, number) for name in names for number in range(4)}
    places = api.wait(lambda: found if wanted <= set(found := listed()) else None)
    assert len(places) == len(set(places))


def test_partitions_tell_what_each_replica_holds(api):
    api.create("replicas", partitions=2)
    for number in range(4):
        assert api.publish("replicas", {"value": number, "partition": 0}).status == 201

    def is_even():
        state = api.get("/v1/topics/replicas/partitions/0", node=2).body
        ends = [row["log_end"] for row in state["replicas"]]
        return state if ends == [4, 4, 4] and state["high_watermark"] == 4 else None

    state = api.wait(is_even)
    assert [row["lag_events"] for row in state["replicas"]] == [0, 0, 0]
    assert sum(row["state"] == "leader" for row in state["replicas"]) == 1
    page = api.get("/v1/topics/replicas/partitions?limit=1").body
    assert len(page["items"]) == 1
    assert page["next"] is not None


def test_events_come_back_as_they_were_sent(api):
    api.create("kinds", partitions=1)
    sent = [
        {"value": {"a": [1, "x"]}, "key": "k"},
        {"value": "plain"},
        {"value": base64.b64encode(b"\x00\xff").decode(), "value_encoding": "base64"},
        {"value": None, "headers": [{"name": "h", "value": "v"}, {"name": "n"}]},
    ]
    answer = api.publish("kinds", *sent, node=3)
    assert answer.status == 201
    assert [row["offset"] for row in answer.body["items"]] == [0, 1, 2, 3]

    found = api.get("/v1/topics/kinds/events?offset=0&partition=0", node=2).body
    values = [
        row["value"] and (row["value"]["view"], row["value"]["data"]) for row in found["items"]
    ]
    assert values == [("json", {"a": [1, "x"]}), ("text", "plain"), ("base64", "AP8="), None]
    assert found["items"][0]["key"]["data"] == "k"
    headers = [
        (row["name"], row["value"] and row["value"]["data"]) for row in found["items"][3]["headers"]
    ]
    assert headers == [("h", "v"), ("n", None)]
    assert found["next"] == {"0": 4}
    shown = api.get("/v1/topics/kinds/partitions/0/events/2?view=hex").body
    assert shown["value"]["data"] == "00ff"
    assert api.get("/v1/topics/kinds/partitions/0/events/4").status == 404


def test_a_raw_body_is_the_value_of_one_event(api):
    api.create("raw", partitions=2)
    path = "/v1/topics/raw/events?key=k&partition=1"
    answer = api.post(path, b"hello", headers={"content-type": "text/plain"})
    assert (answer.status, answer.body["items"][0]["partition"]) == (201, 1)
    answer = api.post("/v1/topics/raw/events?raw=true&partition=1", {"a": 1})
    assert answer.body["items"][0]["offset"] == 1
    found = api.get("/v1/topics/raw/events?partition=1&offset=0").body["items"]
    assert [row["value"]["data"] for row in found] == ["hello", {"a": 1}]


def test_whatever_became_of_an_event_is_told_whole(api):
    api.create("told", partitions=1, config={"event.dedup.enable": "true"})
    event = {"value": 1, "id": "a", "timestamp_ms": 7}
    stored = {"index": 0, "partition": 0, "offset": 0, "timestamp_ms": 7, "id": "a"}

    (first,) = api.publish("told", event).body["items"]
    (again,) = api.publish("told", event).body["items"]

    assert first == {**stored, "duplicate_of": None}
    assert again == {**stored, "duplicate_of": {"partition": 0, "offset": 0}}


def test_reading_from_an_offset_a_time_and_the_end(api):
    api.create("where", partitions=1)
    rows = [{"value": number, "timestamp_ms": 1_000 * number} for number in range(1, 21)]
    assert api.publish("where", *rows).status == 201
    read = lambda query: [  # noqa: E731
        row["offset"] for row in api.get(f"/v1/topics/where/events?{query}").body["items"]
    ]
    assert read("limit=3") == [17, 18, 19]
    assert read("offset=5&limit=2") == [5, 6]
    assert read("time=10000&limit=2") == [9, 10]
    assert read("last=true&limit=1") == [19]
    assert read("offset=99") == []
    assert api.get("/v1/topics/where/events?offset=1&time=2").status == 422


def test_a_filter_runs_on_the_server(api):
    api.create("filtered", partitions=2)
    rows = [{"value": {"delay": number}, "key": f"k{number}"} for number in range(50)]
    assert api.publish("filtered", *rows).status == 201
    wanted = urllib.parse.quote('value.delay >= 45 && key.startsWith("k4")')
    found = api.get(f"/v1/topics/filtered/events?filter={wanted}").body
    assert sorted(row["value"]["data"]["delay"] for row in found["items"]) == [45, 46, 47, 48, 49]
    assert found["scanned"] == 50


@pytest.mark.parametrize(
    "text", ["value.a >", "nosuch == 1", "__import__('os')", "key.nosuch()", "1 +"]
)
def test_what_is_no_filter_is_a_problem_that_names_it(api, text):
    if api.get("/v1/topics/no-filter").status == 404:
        api.create("no-filter", partitions=1)
    answer = api.get(f"/v1/topics/no-filter/events?filter={urllib.parse.quote(text)}")
    assert answer.status == 400
    assert answer.body["type"] == "/problems/filter"
    assert answer.body["errors"][0]["field"] == "filter"


def test_events_over_time_add_up(api):
    api.create("times", partitions=2)
    rows = [{"value": number, "timestamp_ms": 1_000 + 10 * number} for number in range(100)]
    assert api.publish("times", *rows).status == 201
    found = api.get("/v1/topics/times/histogram?from_ms=1000&to_ms=2000&buckets=10", node=2).body
    assert [bucket["events"] for bucket in found["buckets"]] == [10] * 10
    assert found["step_ms"] == 100


def test_an_event_id_is_stored_once_and_the_answer_names_the_original(api):
    api.create("once", partitions=1, config={"event.dedup.enable": "true"})
    first = api.publish("once", {"value": 1, "id": "a"}, {"value": 2, "id": "b"})
    assert [row["duplicate_of"] for row in first.body["items"]] == [None, None]

    again = api.publish(
        "once", {"value": 1, "id": "a"}, {"value": 3, "id": "c"}, {"value": 2, "id": "b"}, node=2
    )
    assert again.status == 201
    assert [
        row["duplicate_of"] and row["duplicate_of"]["offset"] for row in again.body["items"]
    ] == [
        0,
        None,
        1,
    ]
    found = api.get("/v1/topics/once/events?offset=0&partition=0").body["items"]
    assert [row["event_id"] for row in found] == ["a", "b", "c"]
    windows = api.get("/v1/topics/once/dedup", node=3).body
    assert (windows["enabled"], windows["ids"]) == (True, 3)
    assert windows["hits"] >= 2
    assert [row["original_offset"] for row in windows["last_duplicates"][:2]] == [1, 0]
    assert windows["last_duplicates"][0]["id_hash"] == hash_id(b"b").hex()


def test_an_idempotency_key_is_the_id_of_the_event(api):
    api.create("keyed", partitions=1, config={"event.dedup.enable": "true"})
    header = {"idempotency-key": "order-7"}
    first = api.publish("keyed", {"value": "x"}, headers=header)
    again = api.publish("keyed", {"value": "x"}, headers=header, node=3)
    assert (first.status, again.status) == (201, 200)
    assert again.body["items"][0]["duplicate_of"] == {"partition": 0, "offset": 0}
    several = api.publish("keyed", {"value": 1}, {"value": 2}, headers=header)
    assert [row["id"] for row in several.body["items"]] == ["order-7/0", "order-7/1"]


def test_an_event_sent_again_without_a_key_is_stored_once_on_several_partitions(api):
    api.create("retried", partitions=3, config={"event.dedup.enable": "true"})
    by_key = {"idempotency-key": "payment-7"}
    by_header = {"value": 8, "headers": [{"name": "Nats-Msg-Id", "value": "in-header"}]}
    for node in (1, 1, 2, 3):
        first = api.publish("retried", {"value": 7}, headers=by_key, node=node)
    for node in (1, 1, 2, 3):
        rows = [{"value": number, "id": f"id-{number}"} for number in range(6)]
        second = api.publish("retried", *rows, node=node)
    for node in (1, 1, 2, 3):
        third = api.publish("retried", by_header, node=node)
    assert [answer.status for answer in (first, second, third)] == [200, 200, 200]
    found = api.get("/v1/topics/retried/events?offset=0").body["items"]
    assert sorted(row["value"]["data"] for row in found) == [0, 1, 2, 3, 4, 5, 7, 8]
    assert len({row["partition"] for row in found}) > 1


def test_the_same_key_goes_where_kafka_clients_put_it(api):
    from aiokafka.partitioner import murmur2

    api.create("placed", partitions=7)
    rows = [{"value": number, "key": f"key-{number}"} for number in range(20)]
    answer = api.publish("placed", *rows)
    for number, row in enumerate(answer.body["items"]):
        assert row["partition"] == (murmur2(f"key-{number}".encode()) & 0x7FFFFFFF) % 7


def test_a_group_has_lag_in_events_and_seconds(api):
    api.create("lag", partitions=2)
    for number in range(6):
        assert api.publish("lag", {"value": number, "partition": 0}).status == 201
    body = {"topic": "lag", "to": {"kind": "offset", "value": 2}, "partitions": [0]}
    tried = api.post("/v1/groups/readers/reset-offsets", body)
    assert (tried.status, tried.body["dry_run"], tried.body["items"][0]["after"]) == (200, True, 2)
    assert api.get("/v1/groups/readers").status == 404

    done = api.post("/v1/groups/readers/reset-offsets", {**body, "dry_run": False}, node=3)
    assert done.status == 200
    group = api.get("/v1/groups/readers", node=2).body
    assert (group["lag_events"], group["state"]) == (4, "Empty")
    assert group["lag_s"] >= 0
    back = {
        "topic": "lag",
        "to": {"kind": "shift", "value": -1},
        "partitions": [0],
        "dry_run": False,
    }
    assert api.post("/v1/groups/readers/reset-offsets", back).body["items"][0]["change"] == -1
    listed = api.get("/v1/groups?search=readers").body["items"]
    assert [(row["group_id"], row["lag_events"]) for row in listed] == [("readers", 5)]
    assert api.ask("DELETE", "/v1/groups/readers").status == 204
    assert api.get("/v1/groups/readers").status == 404


def test_a_topic_alone_has_all_its_groups_and_one_among_others_says_how_many(api):
    api.create("popular", partitions=1)
    body = {"topic": "popular", "to": {"kind": "earliest"}, "dry_run": False}
    names = [f"popular-{number}" for number in range(GROUPS_SHOWN + 2)]
    for name in names:
        assert api.post(f"/v1/groups/{name}/reset-offsets", body).status == 200

    def all_shown():
        found = api.get("/v1/topics/popular").body
        return found if len(found["groups"]) == len(names) else None

    assert api.wait(all_shown)["groups_total"] == len(names)
    (row,) = api.get("/v1/topics?search=popular").body["items"]
    assert (len(row["groups"]), row["groups_total"]) == (GROUPS_SHOWN, len(names))


def test_a_group_is_reached_by_any_name_that_a_client_can_give_it(api):
    api.create("slashes", partitions=1)
    assert api.publish("slashes", {"value": 1}).status == 201
    for name in ("team/reader", "reset-offsets", "a/reset-offsets", "50%2F", "é ?#"):
        path = f"/v1/groups/{urllib.parse.quote(name, safe='')}"
        body = {"topic": "slashes", "to": {"kind": "latest"}, "dry_run": False}
        assert api.post(f"{path}/reset-offsets", body).status == 200
        group = api.get(path, node=2).body
        assert (group["group_id"], group["lag_events"]) == (name, 0)
        assert api.ask("DELETE", path).status == 204


@pytest.mark.parametrize(
    "path", ["/topics/orders.v1", "/groups/a.b/c", "/groups/a%2Fb.js", "/topics/assets"]
)
def test_an_address_of_the_dashboard_may_have_any_name_in_it(api, path):
    answer = api.get(path)
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, "text/html")
    assert api.get("/assets/gone.js").status == 404


def test_a_leadership_moves_to_the_node_asked_for(api):
    api.create("moves", partitions=1)
    before = api.get("/v1/topics/moves/partitions/0").body["leader"]
    target = next(node for node in (1, 2, 3) if node != before)
    answer = api.post(
        "/v1/leaders/transfer", {"topic": "moves", "partition": 0, "to": target}, node=before
    )
    assert (answer.status, answer.body["from"], answer.body["to"]) == (200, before, target)
    assert api.get("/v1/topics/moves/partitions/0", node=target).body["leader"] == target
    back = api.post("/v1/leaders/balance", {"topic": "moves"})
    assert [row["to"] for row in back.body["moved"]] == [before]
    refused = api.post("/v1/leaders/transfer", {"topic": "moves", "partition": 0, "to": 9})
    assert refused.status == 409


def test_the_oldest_events_can_be_given_up(api):
    api.create("shorter", partitions=1)
    assert api.publish("shorter", *[{"value": number} for number in range(10)]).status == 201
    answer = api.ask("DELETE", "/v1/topics/shorter/partitions/0/events?before=4", node=2)
    assert answer.body["log_start"] == 4
    found = api.get("/v1/topics/shorter/events?offset=0&partition=0").body
    assert found["items"][0]["offset"] == 4


def test_samples_of_all_nodes_have_one_time_axis(api):
    path = "/v1/metrics/history?series=rss_bytes,nosuch&seconds=10&step=2"
    history = api.get(path, node=2).body
    assert sorted(history["nodes"]) == ["1", "2", "3"]
    for rows in history["nodes"].values():
        assert all(len(points) == 5 for points in rows.values())
    assert api.get("/v1/metrics/history?series=a&node=7").status == 422
    assert api.get("/v1/incidents").body["limit_ms"] == 600
    assert api.get("/v1/happenings").status == 200
    assert api.get("/v1/metrics/histograms?window=0").status == 200
    assert api.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")


def test_nodes_cannot_be_broken_where_nobody_allowed_it(api):
    assert api.get("/v1/local").body["available"] is False
    assert api.post("/v1/local/nodes/2/kill", None).status == 404
    assert api.get("/health/live", node=2).status == 200
