"""A cluster of one node on a given port, until standard input ends: `DIRECTORY PORT PARTITIONS`.

Prints one line when the node is ready. Partitions: of a topic that is created without a number.
Does not: keep the directory's cluster for later.
"""

import sys
from pathlib import Path

import yaml

from trimaran.server.local import found_cluster
from trimaran.server.ports import free_ports

SESSION_MIN_MS = 1_000
"""As in the brokers' settings that the suites bring: their groups have short sessions."""


def main(directory, port, partitions):
    http_port = free_ports(1)[0]
    cluster = found_cluster(Path(directory), count=1, kafka_port=int(port), http_port=http_port)
    (place,) = cluster.nodes.values()
    settings_file = place.data.with_name(place.data.name + ".yaml")
    settings = yaml.safe_load(settings_file.read_text())
    settings["topic"] = {"num_partitions": int(partitions)}
    settings["group"] = {"session_timeout_min_ms": SESSION_MIN_MS}
    settings_file.write_text(yaml.safe_dump(settings))
    cluster.start_all()
    try:
        cluster.wait_ready()
        print("ready", flush=True)
        sys.stdin.read()
    finally:
        cluster.stop_all()


if __name__ == "__main__":
    main(*sys.argv[1:])
