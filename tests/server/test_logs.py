"""One line an event, for people and for machines."""

import io
import json
import logging
import re

import pytest

from trimaran.server.logs import set_up_logging


@pytest.fixture
def root_logger():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def test_the_console_line_has_time_level_logger_and_message(root_logger):
    out = io.StringIO()
    set_up_logging(level="info", as_json=False, stream=out)
    logging.getLogger("trimaran.x").info("frame from %s", "10.0.0.1")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO trimaran\.x frame from 10\.0\.0\.1\n",
        out.getvalue(),
    )


def test_text_from_outside_cannot_forge_a_second_line(root_logger):
    out = io.StringIO()
    set_up_logging(level="info", as_json=False, stream=out)
    logging.getLogger("trimaran.x").info("topic %s", "a\n2026-01-01 ERROR forged")
    assert out.getvalue().count("\n") == 1
    assert "a\\n2026-01-01 ERROR forged" in out.getvalue()


def test_json_lines_carry_the_traceback_as_a_field(root_logger):
    out = io.StringIO()
    set_up_logging(level="info", as_json=True, stream=out)
    try:
        raise ValueError("no\nway")
    except ValueError:
        logging.getLogger("trimaran.x").exception("failed")
    line = json.loads(out.getvalue())
    assert (line["level"], line["logger"], line["event"]) == ("ERROR", "trimaran.x", "failed")
    assert "ValueError: no\nway" in line["error"]


def test_below_the_level_nothing_is_written(root_logger):
    out = io.StringIO()
    set_up_logging(level="warning", as_json=False, stream=out)
    logging.getLogger("trimaran.x").info("quiet")
    assert out.getvalue() == ""


@pytest.fixture
def json_line(root_logger):
    """Log one call as JSON and return the line as an object."""

    def log(text, *arguments):
        out = io.StringIO()
        set_up_logging(level="info", as_json=True, node=2, stream=out)
        logging.getLogger("trimaran.x").info(text, *arguments)
        assert out.getvalue().count("\n") == 1
        return json.loads(out.getvalue())

    return log


def test_a_json_line_has_the_event_and_its_fields_with_their_types(json_line):
    line = json_line("failover lost=%s cause=%s groups=%d total_ms=%.1f", 1, "silence", 12, 99.25)

    assert line["node"] == 2
    assert line["event"] == "failover"
    assert line["fields"] == {"lost": 1, "cause": "silence", "groups": 12, "total_ms": "99.2"}


def test_a_field_may_be_text_of_the_call_with_spaces_and_an_event_may_take_arguments(json_line):
    line = json_line(
        "node %d listens port=%s effect=no vote, nothing else reason=%s", 3, 9092, "x y"
    )

    assert line["event"] == "node 3 listens"
    assert line["fields"] == {"port": 9092, "effect": "no vote, nothing else", "reason": "x y"}


def test_what_comes_from_outside_makes_no_fields_and_breaks_no_line(json_line):
    line = json_line("refused reason=%s", "a=1\nlevel=ERROR 100%")

    assert line["event"] == "refused"
    assert line["fields"] == {"reason": "a=1\nlevel=ERROR 100%"}


def test_a_call_without_fields_is_its_text(json_line):
    line = json_line("journal 100% read")

    assert line["event"] == "journal 100% read"
    assert "fields" not in line


def test_control_characters_are_shown_on_the_console(root_logger):
    out = io.StringIO()
    set_up_logging(level="info", as_json=False, stream=out)
    logging.getLogger("trimaran.x").info("topic %s", "a\x1b[31m\r\u2028 100% b")
    assert out.getvalue().endswith("topic a\\x1b[31m\\r\\u2028 100% b\n")
