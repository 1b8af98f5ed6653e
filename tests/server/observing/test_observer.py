"""What three nodes tell of themselves while they work and when one of them dies."""

import re

import pytest

from trimaran.server.observing import groups
from trimaran.server.observing.catalogue import BY_NAME
from trimaran.server.observing.merging import merged
from trimaran.server.observing.series import NODE_SERIES

PHASES = ["last_ack", "detected", "pre_vote", "vote", "elected", "first_commit", "first_ack"]


@pytest.fixture(scope="module")
def told(observed):
    """What there is to see after seconds of traffic, a killed leader, and more traffic."""

    async def act(sim):
        sim.crowd.start()
        await sim.pass_time(6)
        before = {node.name: sim.observer_of(node).latest() for node in sim.living}
        victim = sim.leader()
        sim.cluster.kill(victim)
        await sim.pass_time(14)
        survivors = {node.name: sim.observer_of(node) for node in sim.living}
        return {
            "before": before,
            "victim": victim.number,
            "incidents": {name: one.incidents() for name, one in survivors.items()},
            "happenings": {name: one.happenings(0) for name, one in survivors.items()},
            "history": {
                name: one.history(
                    [*(name for name, _, _ in NODE_SERIES), "no such"], seconds=10, step=1
                )
                for name, one in survivors.items()
            },
            "histograms": {name: one.histograms(window_s=60) for name, one in survivors.items()},
            "text": {name: one.prometheus().decode() for name, one in survivors.items()},
            "series": {name: one.series() for name, one in survivors.items()},
        }

    return observed(act)


def test_rates_are_of_the_last_second_and_sums_agree(told):
    rates = [latest["events_in_per_s"] for latest in told["before"].values()]

    assert sum(rates) > 0
    for latest in told["before"].values():
        topics = [
            value
            for name, value in latest.items()
            if name.startswith("topic/") and name.endswith("/events_in_per_s")
        ]
        assert sum(topics) == pytest.approx(latest["events_in_per_s"], rel=1e-5)
        assert latest["groups"] >= latest["leaders"] >= 0


def test_every_survivor_has_one_incident_with_phases_that_follow_one_another(told):
    for records in told["incidents"].values():
        (record,) = [one for one in records if one.lost_node == told["victim"]]
        names = [phase.name for phase in record.phases]
        times = [phase.at_ms for phase in record.phases]
        assert names == [name for name in PHASES if name in names]
        assert times == sorted(times)
        assert record.cause == "connection"
        assert record.groups > 1
        assert record.new_term > record.old_term
        assert 0 < record.total_ms < 1_500
        assert record.over_limit == (record.total_ms > 600)


def test_merged_records_make_one_incident_with_all_phases(told):
    records = [one for found in told["incidents"].values() for one in found]
    lost = [one for one in merged(records) if one.lost_node == told["victim"]]

    (incident,) = lost
    assert [phase.name for phase in incident.phases] == PHASES
    assert incident.total_ms == incident.phases[-1].at_ms


def test_the_feed_names_the_node_that_went_and_who_leads_now(told):
    for found in told["happenings"].values():
        kinds = [one.kind for one in found]
        assert [one.seq for one in found] == list(range(1, len(found) + 1))
        assert {"node-up", "node-down", "incident"} <= set(kinds)
        assert {"election", "leader-moved"} & set(kinds)
        (down,) = [one for one in found if one.kind == "node-down"]
        assert down.subject_node == told["victim"]
        (incident,) = [one for one in found if one.kind == "incident"]
        assert incident.ms > 0
        assert incident.text.startswith(f"node {told['victim']} lost (connection), replaced after")
        assert all(one.text for one in found)


def test_the_history_has_a_value_for_every_second_and_leaves_out_what_it_does_not_know(told):
    for history in told["history"].values():
        assert history.step_ms == 1_000
        assert "no such" not in history.values
        assert {len(values) for values in history.values.values()} == {10}
        assert None not in history.values["events_in_per_s"]
        assert None not in history.values["rss_bytes"]


def test_stages_add_up_to_the_whole_time_of_produce(told):
    for found in told["histograms"].values():
        by_name = {one.name: one for one in found}
        stages = sum(by_name[f"ack_{name}_ms"].sum for name in STAGES)
        assert by_name["produce_ms"].count > 0
        assert stages == pytest.approx(by_name["produce_ms"].sum, rel=1e-6)
        assert by_name["fsync_ms"].count > by_name["produce_ms"].count
        for one in found:
            assert len(one.counts) == len(one.bounds) + 1
            assert sum(one.counts) == one.count


STAGES = ("queue", "disk", "network", "answer")
SAMPLE = re.compile(r"^(\w+)(\{.*\})? \S+$")


def test_every_metric_of_the_catalogue_is_told_and_no_other(told):
    for text in told["text"].values():
        types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
        ours = {name: kind for name, kind in types.items() if name.startswith("trimaran_")}
        assert ours == {metric.told_name: metric.kind for metric in BY_NAME.values()}
        for line in text.splitlines():
            assert line.startswith("#") or SAMPLE.match(line), line


def test_the_text_says_what_was_counted(told):
    values = {}
    for text in told["text"].values():
        for line in text.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                values[name] = values.get(name, 0.0) + float(value)
    produced = sum(
        value for name, value in values.items() if name.startswith("trimaran_topic_appended_events")
    )
    assert produced > 100
    assert values['trimaran_failovers_total{cause="connection"}'] == 2
    assert values["trimaran_failover_duration_seconds_count"] == 2
    assert values[f'trimaran_peer_up{{peer="{told["victim"]}"}}'] == 0
    assert values['trimaran_requests_total{api="Produce"}'] > 10
    assert values["trimaran_raft_groups_under_replicated"] > 0
    assert values["trimaran_raft_groups_without_series"] == 0


def test_topics_with_event_ids_tell_hits_fill_memory_and_age(told):
    found = {}
    for text in told["text"].values():
        for name, value in re.findall(r"^trimaran_(dedup_\w+)\{\S+\} (\S+)$", text, re.MULTILINE):
            found[name] = max(found.get(name, 0.0), float(value))
    assert found["dedup_duplicates_total"] > 0
    assert found["dedup_ids"] > 0
    assert 0 < found["dedup_window_fill_ratio"] <= 1
    assert found["dedup_memory_bytes"] > 0
    assert found["dedup_oldest_id_timestamp_seconds"] > 1_700_000_000
    assert found["dedup_window_seconds"] >= found["dedup_effective_window_seconds"] > 0


def test_beyond_its_bounds_a_topic_or_group_is_told_in_sums_only(observed, monkeypatch):
    monkeypatch.setattr(groups, "TOPICS_MAX", 1)
    monkeypatch.setattr(groups, "GROUPS_MAX", 3)

    async def act(sim):
        sim.crowd.start()
        await sim.pass_time(4)
        (node, *_) = sim.living
        return sim.observer_of(node).prometheus().decode(), len(node.broker.replicas)

    text, group_count = observed(act)

    topics = dict.fromkeys(
        re.findall(r'^trimaran_topic_size_bytes\{topic="(.+)"\}', text, re.MULTILINE)
    )
    assert len(topics) == 2
    assert groups.OTHER in topics
    assert len(re.findall(r"^trimaran_raft_term\{", text, re.MULTILINE)) == 3
    assert f"trimaran_raft_groups_without_series {group_count - 3}.0" in text
    roles = re.findall(r'^trimaran_raft_groups\{role=".+"\} (\S+)$', text, re.MULTILINE)
    assert sum(map(float, roles)) == group_count


def test_every_series_has_a_unit_and_a_meaning(told):
    for series in told["series"].values():
        assert {name for name, _, _ in NODE_SERIES} <= {one.name for one in series}
        assert all(one.unit and one.help for one in series)


def test_watchers_hear_of_happenings_and_of_incidents(observed):
    async def act(sim):
        sim.crowd.start()
        await sim.pass_time(2)
        victim = sim.leader()
        (watched, *_) = [node for node in sim.living if node is not victim]
        calls = []
        handle = sim.observer_of(watched).watch(lambda: calls.append(sim.loop.now_s))
        sim.cluster.kill(victim)
        await sim.pass_time(3)
        heard = len(calls)
        sim.observer_of(watched).unwatch(handle)
        sim.cluster.restart(victim)
        await sim.pass_time(3)
        return heard, len(calls)

    heard, after = observed(act)

    assert heard >= 3
    assert after == heard


def test_a_frozen_leader_is_an_incident_of_silence_that_begins_with_its_last_sign(observed):
    async def act(sim):
        sim.crowd.start()
        await sim.pass_time(4)
        victim = sim.leader()
        sim.cluster.pause(victim)
        others = [node for node in sim.living if node is not victim]
        await sim.pass_time(3)
        return victim.number, [sim.observer_of(node).incidents() for node in others]

    victim, found = observed(act)

    for records in found:
        (record,) = [one for one in records if one.lost_node == victim]
        times = {phase.name: phase.at_ms for phase in record.phases}
        assert record.cause == "silence"
        assert times["detected"] >= 100
        assert times["first_commit"] < 1_500


def test_equal_seeds_tell_the_same(observed):
    async def act(sim):
        sim.crowd.start()
        await sim.pass_time(3)
        sim.cluster.kill(sim.leader())
        await sim.pass_time(3)
        return [
            (sim.observer_of(node).incidents(), sim.observer_of(node).happenings(0))
            for node in sim.living
        ]

    assert observed(act, seed=3) == observed(act, seed=3)
