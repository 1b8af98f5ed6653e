"""What watching costs: ratios of pairs, and what the watchers said last."""

import io

from trimaran.bench.watched import last_line, ratios
from trimaran.bench.watchers import newest_topic


def test_each_pair_has_its_ratio():
    assert ratios([2.0, 4.0], [1.0, 5.0], float) == [0.5, 1.25]


def test_the_last_line_counts():
    assert last_line(io.BytesIO(b'{"seen": 1}\n{"seen": 2}\n')) == {"seen": 2}
    assert last_line(io.BytesIO()) == {}


def test_where_nothing_answers_there_is_no_topic(unused_tcp_port):
    assert newest_topic(f"127.0.0.1:{unused_tcp_port}") is None
