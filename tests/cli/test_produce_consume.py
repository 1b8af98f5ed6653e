"""What a line of standard input means, and how a record is shown."""

import pytest
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END

from trimaran.cli.consume import start_of
from trimaran.cli.exits import CommandError
from trimaran.cli.output import Format, exact, readable, show, text_of
from trimaran.cli.produce import header_of, split_line


@pytest.mark.parametrize(
    ("line", "separator", "expected"),
    [
        (b"a:b:c", b":", (b"a", b"b:c")),
        (b"abc", b":", (None, b"abc")),
        (b"a:b", b"", (None, b"a:b")),
        (b":b", b":", (b"", b"b")),
        (b"", b"", (None, b"")),
    ],
)
def test_a_line_is_split_at_the_first_separator(line, separator, expected):
    assert split_line(line, separator) == expected


def test_offsets_are_words_numbers_or_counted_from_the_end():
    assert start_of("earliest") == OFFSET_BEGINNING
    assert start_of("latest") == OFFSET_END
    assert start_of("17") == 17
    assert start_of("-5") == -2005
    with pytest.raises(CommandError, match="found '1x'"):
        start_of("1x")


def test_headers_are_name_and_bytes():
    assert header_of("a=b=c") == ("a", b"b=c")


def test_bytes_that_are_no_text_survive_json():
    assert exact(b"abc") == "abc"
    assert exact(b"\xff\x00") == {"base64": "/wA="}
    assert exact(None) is None
    assert readable(b"a\xff") == "a\N{REPLACEMENT CHARACTER}"


def test_tables_line_up_and_json_keeps_every_field(capsys):
    rows = [{"topic": "long name", "leader": None, "replicas": [1, 2], "extra": 1}]
    show(rows, columns=["topic", "leader", "replicas"], form=Format.TABLE)
    assert capsys.readouterr().out == "topic      leader  replicas\nlong name  -       1,2\n"
    show(rows, columns=["topic"], form=Format.JSON)
    assert capsys.readouterr().out.startswith('[{"topic": "long name", "leader": null')
    assert text_of((1, 2)) == "1,2"
