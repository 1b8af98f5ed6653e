"""Trimaran beside other systems, on this machine, in turn.

    python -m bench.peers [NAME ...] [--rounds 2] [--seconds 20] [--warm-up 5] [--data DIR]
    python -m bench.peers --table build/peers/results.json ...

Each round starts each system once, one after the other (A B A B), runs every load of `loads` and
stops it: three nodes and the load share the machine, as everywhere here. Results go to
`--results` after each system, with a plot of each load beside them; `--table` prints the table of
docs/performance.md from such files, several of one comparison as one. A system that is not
installed is left out and named.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import msgspec

from bench.peers import kafka, nats, ours, rabbitmq, redis
from bench.peers.loads import plans
from bench.peers.peer import Peer
from bench.peers.report import markdown, plots
from trimaran.bench.filesystem import file_system
from trimaran.bench.machine import describe
from trimaran.bench.measure import run_once
from trimaran.bench.results import Report
from trimaran.bench.target import refuse_memory_file_system
from trimaran.errors import TrimaranError

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        ours.TRIMARAN,
        kafka.AS_SHIPPED,
        kafka.WITH_SYNC,
        nats.AS_SHIPPED,
        nats.WITH_SYNC,
        redis.AS_SHIPPED,
        redis.WITH_SYNC,
        rabbitmq.STREAM,
        rabbitmq.QUORUM,
    )
}
BUILD = Path("build/peers")


def main(words: list[str]) -> int:
    """Measure, or print the table of what was measured."""
    options = _options(words)
    durability = {name: peer.durability for name, peer in PEERS.items()}
    if options.table is not None:
        report = _merged(options.table)
        plots(report, options.table[0].parent)
        print(markdown(report, durability))
        return 0
    options.data.mkdir(parents=True, exist_ok=True)
    refuse_memory_file_system(options.data)
    chosen, left_out = [], []
    for name in options.names or PEERS:
        reason = PEERS[name].missing()
        chosen += [] if reason else [PEERS[name]]
        left_out += [f"{name}: left out, {reason}"] if reason else []
    print("\n".join(left_out), file=sys.stderr)
    BUILD.mkdir(parents=True, exist_ok=True)
    report = Report(machine=describe(["peers", *words]), file_system=file_system(options.data)[0])
    failed = []
    for number in range(1, options.rounds + 1):
        for peer in chosen:
            try:
                _measure(peer, number, options, report)
            except (TrimaranError, OSError) as error:
                failed.append(f"round {number}, {peer.name}: {error}")
                print(failed[-1], file=sys.stderr)
            options.results.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    plots(report, BUILD)
    print(markdown(report, durability))
    print("\n".join([*left_out, *failed]))
    return 1 if failed else 0


def _measure(peer: Peer, number: int, options: argparse.Namespace, report: Report) -> None:
    with peer.open(options.data) as target:
        named = replace(target, name=peer.name)
        for plan in plans(peer, seconds=options.seconds, warm_up_s=options.warm_up):
            report.rows.append(run_once(plan, named, repeat=number, progress=_tell))


def _merged(paths: list[Path]) -> Report:
    """Return the rows of several result files under the first one's machine and date."""
    first, *others = (msgspec.json.decode(path.read_bytes(), type=Report) for path in paths)
    first.rows += [row for report in others for row in report.rows]
    return first


def _tell(text: str, _done: float) -> None:
    """Say which run begins: each begins with its disk."""
    if text.endswith(": disk"):
        print(text.removesuffix(": disk"), file=sys.stderr)


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers")
    parser.add_argument("names", nargs="*", choices=[*PEERS, []], help="which; all without one")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--warm-up", type=float, default=5.0)
    parser.add_argument("--data", type=Path, default=BUILD, help="where servers store")
    parser.add_argument("--results", type=Path, metavar="FILE", default=BUILD / "results.json")
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
