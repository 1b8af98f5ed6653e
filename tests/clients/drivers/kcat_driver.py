"""kcat as a driver: a process for each request. See driver.py. Administration is not its trade."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from driver import (
    FETCH_BYTES_MAX,
    PRODUCE_BYTES_MAX,
    WAIT_S,
    KafkaRefusal,
    UnsupportedError,
    deadline_of,
    serve,
)

KCAT = shutil.which("kcat")
ERRORS = {
    "Message size too large": "MESSAGE_TOO_LARGE",
    "Offset out of range": "OFFSET_OUT_OF_RANGE",
    "offset reset": "OFFSET_OUT_OF_RANGE",
    "Unknown topic": "UNKNOWN_TOPIC_OR_PARTITION",
    "Invalid topic": "INVALID_TOPIC_EXCEPTION",
}
TYPES = {"create": "CreateTime", "logappend": "LogAppendTime"}


def refused(text):
    for words, name in ERRORS.items():
        if words.lower() in text.lower():
            return KafkaRefusal(name, text)
    return KafkaRefusal("KCAT", text)


def as_record(line):
    told = json.loads(line)
    flat = told.get("headers", [])
    return {
        "topic": told["topic"],
        "partition": told["partition"],
        "offset": told["offset"],
        "key": told["key"],
        "value": told["payload"],
        "headers": [list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)],
        "timestamp": told["ts"],
        "timestamp_type": TYPES.get(told["tstype"]),
    }


class Driver:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.member = None
        self.output = None
        self.read_bytes = 0

    def run(self, *words, standard_input=None, seconds=2 * WAIT_S):
        done = subprocess.run(
            [KCAT, "-b", self.bootstrap, *words],
            input=standard_input,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            raise refused(done.stderr)
        return done.stdout

    def version(self):
        told = subprocess.run([KCAT, "-V"], capture_output=True, text=True, check=True).stdout
        own = re.search(r"Version ([\d.]+)", told)[1]
        return f"{own} (librdkafka {re.search(r'librdkafka ([0-9.]+)', told)[1]})"

    def close(self):
        """Nothing is open."""

    def produce(self, topic, records, codec="none", idempotent=False, acks="all"):
        """One run for each record: kcat's lines know no header or null of one record only."""
        common = ["-P", "-t", topic, "-z", codec, "-X", f"enable.idempotence={idempotent}".lower()]
        common += ["-X", f"acks={acks}", "-X", f"message.max.bytes={PRODUCE_BYTES_MAX}", "-Z"]
        plain = all(set(one) <= {"key", "value", "partition"} for one in records)
        if plain and all(one.get("value") and one.get("key") for one in records):
            lines = "\n".join(f"{one['key']}|{one['value']}" for one in records)
            words = ["-p", str(records[0].get("partition", -1)), "-K", "|"]
            self.run(*common, *words, standard_input=lines)
            return None
        for one in records:
            if "timestamp" in one:
                raise UnsupportedError("kcat cannot choose timestamps")
            value = one.get("value") or ""  # -Z: an empty one is null
            words = ["-p", str(one.get("partition", -1)), "-K", "|"]
            for name, value in one.get("headers", ()):
                words += ["-H", name if value is None else f"{name}={value}"]
            line = f"{one.get('key') or ''}|{value}"
            self.run(*common, *words, standard_input=line)
        return None

    def consume(self, topic, partition, count, offset="earliest", reset="error"):
        start = "beginning" if offset == "earliest" else str(offset)
        words = ["-C", "-J", "-q", "-t", topic, "-p", str(partition), "-o", start]
        words += ["-c", str(count), "-X", f"topic.auto.offset.reset={reset}", "-e"]
        words += ["-X", f"fetch.message.max.bytes={FETCH_BYTES_MAX}"]
        words += ["-X", f"receive.message.max.bytes={FETCH_BYTES_MAX + 1_000_000}"]
        words += ["-X", f"fetch.max.bytes={FETCH_BYTES_MAX}"]
        return [as_record(line) for line in self.run(*words).splitlines()]

    def offset(self, topic, partition, at):
        spec = {"earliest": -2, "latest": -1}.get(at, at)
        told = self.run("-Q", "-t", f"{topic}:{partition}:{spec}")
        found = int(told.split("offset")[1].split()[0])
        return None if found < 0 else found

    def join(self, group, topics, strategy="range", instance=None):
        words = ["-G", group, *topics, "-J", "-q", "-u", "-X", "auto.offset.reset=earliest"]
        words += ["-X", f"partition.assignment.strategy={strategy}"]
        words += ["-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=500"]
        words += ["-X", f"group.instance.id={instance}"] if instance else []
        self.output = Path(tempfile.mkstemp(prefix="kcat-")[1])
        self.read_bytes = 0
        self.member = subprocess.Popen(
            [KCAT, "-b", self.bootstrap, *words], stdout=self.output.open("wb")
        )

    def poll(self, count, seconds=WAIT_S):
        records, in_time = [], deadline_of(seconds)
        while len(records) < count and in_time():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.member.wait(0.1)
            data = self.output.read_bytes()[self.read_bytes :]
            whole = data[: data.rfind(b"\n") + 1]
            self.read_bytes += len(whole)
            records += [as_record(line) for line in whole.decode().splitlines()]
        return records

    def assignment(self):
        raise UnsupportedError("kcat does not tell its assignment")

    def commit(self):
        """Nothing: kcat commits when it leaves."""

    def leave(self):
        self.member.send_signal(signal.SIGTERM)
        self.member.wait(WAIT_S)
        os.unlink(self.output)

    def partitions(self, topic):
        (told,) = json.loads(self.run("-L", "-J", "-t", topic))["topics"]
        if told.get("error"):
            raise refused(told["error"])
        return len(told["partitions"])


if __name__ == "__main__":
    serve(Driver(sys.argv[1]))
