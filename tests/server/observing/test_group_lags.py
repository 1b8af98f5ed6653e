"""The lag of consumer groups is told as long as it is fresh, as samples and to Prometheus."""

import pytest

from trimaran.server.observing.group_lags import GroupLags, series_name
from trimaran.server.observing.series import info_of
from trimaran.server.observing.shapes import GroupLag

HELD_S = 3
ODD = 'a,b/c "d"'


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


def test_lag_is_told_until_it_is_too_old_or_found_anew():
    clock = Clock()
    lags = GroupLags(clock)
    assert lags.current() == {}

    lags.note({"readers": GroupLag(events=5, seconds=1.5)}, held_s=10)
    clock.now_s += 9
    assert lags.current()["readers"].events == 5
    lags.note({}, held_s=10)
    assert lags.current() == {}

    lags.note({"readers": GroupLag(events=7, seconds=None)}, held_s=10)
    clock.now_s += 10
    assert lags.current() == {}


@pytest.mark.parametrize("group_id", ["readers", ODD, "group/x", "ü"])
def test_whatever_a_group_is_called_its_series_has_a_name_that_a_list_can_hold(group_id):
    name = series_name(group_id, "lag_events")

    assert "," not in name
    assert info_of(name).unit == "1"


def test_an_observer_tells_lag_as_samples_and_to_prometheus(observed):
    async def act(sim):
        observer = sim.observer_of(sim.living[0])
        observer.note_group_lags(
            {ODD: GroupLag(events=5, seconds=1.5), "new": GroupLag(events=None, seconds=None)},
            held_s=HELD_S,
        )
        await sim.pass_time(1)
        fresh = (observer.latest(), observer.prometheus().decode())
        await sim.pass_time(HELD_S)
        return fresh, (observer.latest(), observer.prometheus().decode())

    (latest, text), (later, later_text) = observed(act)

    assert latest[series_name(ODD, "lag_events")] == 5
    assert latest[series_name(ODD, "lag_s")] == 1.5
    assert 'trimaran_consumer_group_lag_events{group="a,b/c \\"d\\""} 5.0' in text
    assert 'trimaran_consumer_group_lag_seconds{group="a,b/c \\"d\\""} 1.5' in text
    assert not any(name.startswith("group/new/") for name in latest), "nothing is known of it"
    assert not any(name.startswith("group/") for name in later)
    assert "trimaran_consumer_group_lag_events{" not in later_text
