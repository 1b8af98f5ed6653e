"""Settings that change under load: what was acknowledged is in force, everywhere and for good."""

from types import SimpleNamespace

import pytest

from trimaran.broker.controller import Controller
from trimaran.broker.membership import Membership
from trimaran.ids import METADATA_GROUP
from trimaran.metadata.image import Image
from trimaran.sim.checkers import Evidence, SettingsKept
from trimaran.sim.history import History, Outcome, SettingNote
from trimaran.sim.run import run_seed
from trimaran.sim.settings_changer import allowed_values

pytestmark = pytest.mark.sim

SEGMENT_MS = "segment.ms"
CALM_SEED_WITH_CHANGES = 2


def noted(*rows):
    return [SettingNote(SEGMENT_MS, value, outcome) for value, outcome in rows]


def test_the_last_acknowledged_value_holds_or_one_that_nobody_knows_of():
    acked, unknown = Outcome.ACKED, Outcome.UNKNOWN

    assert allowed_values([], "compression.type") == ["producer"]
    assert allowed_values(noted(("1", acked), ("2", acked)), SEGMENT_MS) == ["2"]
    assert allowed_values(noted(("1", unknown), ("2", acked)), SEGMENT_MS) == ["2", "1"]
    assert allowed_values(noted(("1", acked), ("2", unknown)), SEGMENT_MS) == ["1", "2"]


@pytest.mark.parametrize(("value", "is_right"), [("1", False), ("2", True)])
def test_a_node_that_ends_with_an_older_value_is_seen(value, is_right):
    topic = SimpleNamespace(name="events", settings={SEGMENT_MS: value})
    machine = object.__new__(Controller)
    machine.image = SimpleNamespace(topic={"events": topic}.get)
    history = History(settings_topic="events")
    history.settings = noted(("1", Outcome.ACKED), ("2", Outcome.ACKED))
    checker = SettingsKept()
    view = Evidence(
        "node-1", 1, METADATA_GROUP, SimpleNamespace(), SimpleNamespace(machine=machine)
    )

    assert list(checker.step([view])) == []
    assert list(checker.finish(history)) == (
        [] if is_right else ["node-1: events: segment.ms is 1, expected one of 2"]
    )


def test_changes_that_are_acknowledged_and_not_made_are_noticed(monkeypatch):
    alter = Image._alter_topic_settings

    def pretend(image, command):
        before = image.topic_by_id(command.topic_id)
        done = alter(image, command)
        if before is not None and before.settings:
            image._put_topic(before)
        return done

    monkeypatch.setattr(Image, "_alter_topic_settings", pretend)
    report = run_seed(CALM_SEED_WITH_CHANGES, seconds=8, kinds=())

    assert any("was acknowledged there; expected one of" in line for line in report.violations)
    assert any(line.startswith("SettingsKept: node-") for line in report.violations)


def test_partitions_that_go_by_what_was_set_before_are_noticed(monkeypatch):
    monkeypatch.setattr(Membership, "_alter", lambda _membership, _topic: None)
    report = run_seed(CALM_SEED_WITH_CHANGES, seconds=4, kinds=())

    assert report.violations
    assert all("does not go by the settings of events/" in line for line in report.violations)


def test_runs_change_settings_let_topics_grow_and_begin_new_epochs():
    reports = [run_seed(seed, seconds=6, kinds=()) for seed in (2, 7)]

    for name in ("setting changed", "topic grown", "producer's next epoch"):
        assert any(report.counts.get(name) for report in reports), name
    assert [report.violations for report in reports] == [(), ()]
