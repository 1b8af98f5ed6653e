"""What all Python drivers share: requests in lines of JSON, answers in lines of JSON.

A driver is one process with one client library. A request is {"op": name, argument: value, ...};
its answer is {"ok": result}, {"error": Kafka's name of the error, "text": words} or
{"unsupported": reason}. Drivers in other languages speak the same:

| op | arguments | result |
|---|---|---|
| version | | the library's |
| produce | topic, records, codec, idempotent, acks | [partition, offset] of each |
| consume | topic, partition, offset, count, reset | records |
| offset | topic, partition, at: earliest, latest or a time in ms | offset, or null |
| join | group, topics, strategy, instance | null; the member is this process |
| poll | count | records read by the member until there are `count` |
| assignment | | [[topic, partition], ...], after a poll |
| commit | | null; everything read so far |
| leave | | null |
| committed | group, topic, partition | offset, or null |
| create_topic | topic, partitions, configs | null |
| delete_topic, create_partitions (total), partitions (topic: how many) | | |
| config | topic, name | value |
| alter_config | topic, name, value | null |
| delete_records | topic, partition, offset | the first offset left |
| groups | | names |
| group | group | {"state", "members"} |
| delete_group | group | null |
| delete_offset | group, topic, partition | null |

A record is {"partition", "offset", "key", "value", "headers": [[name, value]], "timestamp",
"timestamp_type"}; texts are ASCII, null is null. A record to be produced may lack any of them.
Does not: judge.
"""

import json
import sys
import time

from trimaran.errors import ErrorCode

WAIT_S = 30.0
PRODUCE_BYTES_MAX = 20_000_000
FETCH_BYTES_MAX = 20_000_000


class UnsupportedError(Exception):
    """The library has no such thing."""


class KafkaRefusal(Exception):  # noqa: N818  an answer, named as Kafka names it
    """The broker's error, by Kafka's name."""

    def __init__(self, name, text=""):
        super().__init__(name, text)
        self.name = name
        self.text = text


def refusal(code, text=""):
    """Return the broker's error by its number."""
    try:
        return KafkaRefusal(ErrorCode(code).name, text)
    except ValueError:
        return KafkaRefusal(f"ERROR_{code}", text)


def to_bytes(text):
    return None if text is None else text.encode()


def to_text(data):
    return None if data is None else bytes(data).decode()


def deadline_of(seconds=WAIT_S):
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


def serve(driver):
    """Answer requests until standard input ends; `driver` has a method for each op."""
    for line in sys.stdin:
        request = json.loads(line)
        operation = getattr(driver, request.pop("op"), None)
        try:
            if operation is None:
                raise UnsupportedError("not in this library")
            answer = {"ok": operation(**request)}
        except UnsupportedError as error:
            answer = {"unsupported": str(error)}
        except KafkaRefusal as error:
            answer = {"error": error.name, "text": error.text}
        except Exception as error:  # noqa: BLE001  whatever the library raised is the answer
            answer = {"error": type(error).__name__, "text": str(error)}
        print(json.dumps(answer), flush=True)
    driver.close()
