"""A broker that keeps nothing: librdkafka's own mock, in a process of its own.

Prints its bootstrap address and runs until standard input ends. What a client reaches against it
is the client's limit on this machine, never a broker's result.
Does not: sync, replicate or check anything.
"""

import sys

from confluent_kafka.admin import AdminClient

CONNECT_S = 10.0


def main() -> None:
    """Serve until the parent goes."""
    settings: dict[str, str | int | float | bool] = {
        "bootstrap.servers": "unused",
        "test.mock.num.brokers": 1,
        "log_level": 2,
    }
    client = AdminClient(settings)
    brokers = client.list_topics(timeout=CONNECT_S).brokers.values()
    sys.stdout.write(",".join(f"{broker.host}:{broker.port}" for broker in brokers) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
