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
    assert (line["level"], line["logger"], line["message"]) == ("ERROR", "trimaran.x", "failed")
    assert "ValueError: no\nway" in line["error"]


def test_below_the_level_nothing_is_written(root_logger):
    out = io.StringIO()
    set_up_logging(level="warning", as_json=False, stream=out)
    logging.getLogger("trimaran.x").info("quiet")
    assert out.getvalue() == ""
