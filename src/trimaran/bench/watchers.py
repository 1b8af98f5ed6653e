"""People who watch, without browsers: tails, samples and the cluster's state over WebSockets.

A process of its own, so that it costs the measured producer no interpreter. It follows the newest
topic of a bench run, whatever node it asks, until it is killed; each second it writes one line with
how many events it saw and how many it was told it missed.

    python -m trimaran.bench.watchers --tails 10 HOST:PORT [HOST:PORT ...]

Does not: check what it reads.
"""

import argparse
import asyncio
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

TOPIC_PREFIX = "bench-"
LOOK_S = 0.2
SAY_S = 1.0


class Counts:
    """What all watchers saw."""

    def __init__(self) -> None:
        self.tails = 0
        self.seen = 0
        self.missed = 0
        self.samples = 0


def newest_topic(address: str) -> str | None:
    """Return a topic of a bench run, None if there is none now."""
    try:
        with urllib.request.urlopen(
            f"http://{address}/v1/topics?search={TOPIC_PREFIX}", timeout=5
        ) as answer:
            names = [row["name"] for row in json.loads(answer.read())["items"]]
    except (urllib.error.URLError, TimeoutError, ValueError):
        return None
    return names[-1] if names else None


async def watch(address: str, counts: Counts) -> None:
    """Follow one run's topic after another, with samples and the cluster beside it."""
    while True:
        topic = await asyncio.to_thread(newest_topic, address)
        if topic is None:
            await asyncio.sleep(LOOK_S)
            continue
        try:
            await follow(address, topic, counts)
        except (OSError, WebSocketException):
            await asyncio.sleep(LOOK_S)


async def follow(address: str, topic: str, counts: Counts) -> None:
    """Watch until the topic is gone."""
    async with connect(f"ws://{address}/v1/stream", compression=None) as stream:
        for message in (
            {"type": "subscribe", "id": "tail", "feed": "tail", "topic": topic},
            {"type": "subscribe", "id": "metrics", "feed": "metrics"},
            {"type": "subscribe", "id": "cluster", "feed": "cluster"},
            {"type": "subscribe", "id": "happenings", "feed": "happenings"},
        ):
            await stream.send(json.dumps(message))
        counts.tails += 1
        try:
            async for text in stream:
                found = json.loads(text)
                kind = found["type"]
                if kind == "events":
                    counts.seen += len(found["items"])
                    counts.missed += found["missed"]
                elif kind == "metrics":
                    counts.samples += 1
                elif kind == "error":
                    return
        finally:
            counts.tails -= 1


async def run(addresses: Sequence[str], tails: int) -> None:
    """Watch, and say each second what was seen."""
    counts = Counts()
    watchers = [
        asyncio.ensure_future(watch(addresses[number % len(addresses)], counts))
        for number in range(tails)
    ]
    assert watchers
    while True:
        await asyncio.sleep(SAY_S)
        row = {
            "tails": counts.tails,
            "seen": counts.seen,
            "missed": counts.missed,
            "samples": counts.samples,
        }
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Watch until killed."""
    parser = argparse.ArgumentParser(prog="python -m trimaran.bench.watchers")
    parser.add_argument("--tails", type=int, default=10)
    parser.add_argument("addresses", nargs="+", metavar="HOST:PORT")
    options = parser.parse_args(arguments)
    asyncio.run(run(options.addresses, options.tails))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
