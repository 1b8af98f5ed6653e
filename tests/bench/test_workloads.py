"""W1 to W9 cover what they are said to cover."""

import pytest

from trimaran.bench import scenarios, workloads
from trimaran.bench.arguments import WORKLOADS, parser
from trimaran.bench.plan import Plan, consumer_tasks, producer_tasks

OF_THEIR_OWN = {"W6", "W8"}


def plans_of(name: str, *more: str) -> list[Plan]:
    arguments = parser().parse_args([name.lower(), *more])
    scenarios.settle(arguments)
    return workloads.plans(name, arguments)


def every_plan() -> list[Plan]:
    return [plan for name in WORKLOADS if name not in OF_THEIR_OWN for plan in plans_of(name)]


def test_partitions_sizes_producers_and_keys_are_covered() -> None:
    plans = every_plan()

    assert {1, 16, 100} <= {plan.partitions for plan in plans}
    assert {100, 512, 1_024, 65_536} <= {plan.event_bytes for plan in plans}
    assert {1, 4, 50} <= {plan.producers for plan in plans}
    assert {plan.keys for plan in plans} >= {"none", "random"}
    assert {plan.load for plan in plans} == {"paced", "at_most", "one_in_flight"}


def test_each_run_of_a_workload_has_words_of_its_own() -> None:
    words = [(plan.scenario, plan.in_words) for plan in every_plan()]

    assert len(set(words)) == len(words)


def test_dedup_is_measured_off_and_on_with_the_same_events() -> None:
    off, on, *_ = plans_of("W9")

    assert off.event_ids
    assert on.event_ids
    assert "event.dedup.enable" not in off.topic_settings
    assert on.topic_settings["event.dedup.enable"] == "true"


def test_retention_is_passed_within_a_run() -> None:
    _, past = plans_of("W5", "--seconds", "10")

    kept = int(past.topic_settings["retention.bytes"])
    assert kept < 10 * workloads.RAW_CHUNK_BYTES * 100, "100 batches a second would be slow"


def test_command_line_wins_over_the_workload() -> None:
    plans = plans_of("W2", "--rate", "7", "--size", "200", "--seconds", "3", "--warm-up", "1")

    assert {plan.rate for plan in plans if plan.load == "paced"} == {7.0}
    assert {(plan.event_bytes, plan.seconds, plan.warm_up_s) for plan in plans} == {(200, 3, 1)}


def test_consumers_of_a_topic_share_its_partitions() -> None:
    (plan,) = plans_of("W4")
    topics = [f"topic-{number}" for number in range(10)]

    read = [(t.topic, p) for t in consumer_tasks(plan, "", topics) for p in t.own_partitions]
    written = {task.topic for task in producer_tasks(plan, "", topics)}

    assert sorted(read) == [(topic, part) for topic in topics for part in range(3)]
    assert written == set(topics)


def test_four_consumers_read_each_of_a_hundred_partitions_once() -> None:
    plan = plans_of("W3")[0]

    tasks = consumer_tasks(plan, "", ["t"])

    assert len(tasks) == 4
    assert sorted(number for task in tasks for number in task.own_partitions) == list(range(100))


@pytest.mark.parametrize("name", sorted(OF_THEIR_OWN))
def test_workloads_with_a_module_of_their_own_are_no_plain_runs(name: str) -> None:
    with pytest.raises(KeyError):
        plans_of(name)
