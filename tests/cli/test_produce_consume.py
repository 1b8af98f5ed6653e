"""What a line of standard input means, and how a record is shown."""

import json
from types import SimpleNamespace

import pytest
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, KafkaException

from trimaran.cli import produce
from trimaran.cli.consume import start_of
from trimaran.cli.exits import CommandError
from trimaran.cli.output import Format, exact, readable, show, text_of
from trimaran.cli.produce import header_of, split_line

BIG = b"x" * 100


class Client:
    """A client library's producer that acknowledges with `flush` alone, and refuses big events."""

    flushing = None
    """What `flush` is interrupted by."""

    def __init__(self, _settings=None):
        self.queue = []

    def produce(self, topic, value, key, partition, delivered, *, headers):
        if value == BIG:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        self.queue.append(delivered)

    def poll(self, _):
        return 0

    def flush(self):
        if self.flushing is not None:
            self.queue.pop()(None, ACKED)
            raise self.flushing
        while self.queue:
            self.queue.pop()(None, ACKED)
        return 0

    def __len__(self):
        return len(self.queue)


ACKED = SimpleNamespace(partition=lambda: 0, offset=lambda: 7)


@pytest.fixture
def given(monkeypatch):
    """Have `trimaran produce` read these lines; an error among them is raised there."""

    def give(*lines, client=Client):
        def read():
            for line in lines:
                if isinstance(line, BaseException):
                    raise line
                yield line + b"\n"

        monkeypatch.setattr(produce, "cluster_metadata", lambda *_, **__: None)
        monkeypatch.setattr(produce, "Producer", client)
        monkeypatch.setattr(produce, "sys", SimpleNamespace(stdin=SimpleNamespace(buffer=read())))

    return give


def test_a_line_that_cannot_be_sent_is_named_and_the_others_are_waited_for(run, given):
    given(b"1", b"2", BIG, b"4")

    code, out, err = run("produce", "t")

    assert (code, out) == (1, "acked 2 failed 0\n")
    assert err.startswith("error: line 3 was not sent")
    assert "MSG_SIZE_TOO_LARGE" in err


def test_ctrl_c_between_lines_waits_for_what_was_sent_and_tells_it(run, given):
    given(b"1", b"2", KeyboardInterrupt())
    assert run("produce", "t")[:2] == (130, "acked 2 failed 0\n")

    given(b"1", b"2", KeyboardInterrupt())
    code, out, _ = run("produce", "t", "-o", "json")
    assert code == 130
    assert json.loads(out) == {"acked": 2, "failed": 0, "last": {"0": 7}}


def test_ctrl_c_during_the_wait_tells_of_how_many_nothing_is_known(run, given):
    given(b"1", b"2", b"3", client=type("Slow", (Client,), {"flushing": KeyboardInterrupt()}))

    assert run("produce", "t")[:2] == (130, "acked 1 failed 0 unknown 2\n")


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
