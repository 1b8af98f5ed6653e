"""Trimaran beside other systems, on this machine, in turn.

    python -m bench.peers [NAME ...] [--rounds 3] [--seconds 6] [--warm-up 2] [--data DIR]
    python -m bench.peers --table build/peers/2026-11-29-1145/results.json ...

Each round starts each system once, one after the other (A B A B), runs every load of `loads` and
ends it: three nodes and the load share the machine, as everywhere here. Raw results, the table, a
plot of each load and the logs of what failed go to `--out`, the results after each run; `--table`
makes table and plots again from such files, several of one comparison as one.

Exit code 0: measured. 1: something failed, and is named below the table. 2: asked for wrongly, or
what was asked for is not to be had here. 130: interrupted; what was measured so far is shown.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.peers import kafka, nats, ours, rabbitmq, redis
from bench.peers.comparison import Rounds, require_space, run
from bench.peers.loads import LOADS, library_missing
from bench.peers.peer import Peer
from bench.peers.report import markdown, plots
from bench.peers.results import Comparison, System, read, write
from trimaran.bench.errors import BenchError
from trimaran.bench.filesystem import file_system
from trimaran.bench.machine import describe
from trimaran.bench.target import refuse_memory_file_system

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
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(words: list[str]) -> int:
    """Measure, or print the table of what was measured; return the exit code."""
    try:
        options = _options(words)
        if options.table is not None:
            _show(read(options.table), options.out or options.table[0].parent)
            return OK
        rounds, comparison = _prepare(options, words)
    except (BenchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except SystemExit as end:
        return int(end.code or OK)
    except KeyboardInterrupt:
        return INTERRUPTED
    out = rounds.logs.parent
    results = out / "results.json"
    # `timeout` and service managers end with SIGTERM: no less orderly than Ctrl-C.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(rounds, comparison, lambda: write(comparison, results))
    except KeyboardInterrupt:
        comparison.interrupted = True
    finally:
        signal.signal(signal.SIGTERM, before)
    write(comparison, results)
    _show(comparison, out)
    if comparison.interrupted:
        return INTERRUPTED
    return FAILED if comparison.failures else OK


def _prepare(options: argparse.Namespace, words: list[str]) -> tuple[Rounds, Comparison]:
    """Return what is to be run. Raises BenchError, OSError: it cannot be."""
    options.data.mkdir(parents=True, exist_ok=True)
    refuse_memory_file_system(options.data)
    chosen, left_out = _choose(options.names)
    out = options.out or BUILD / datetime.now(UTC).strftime("%Y-%m-%d-%H%M%S")
    out.mkdir(parents=True, exist_ok=True)
    rounds = Rounds(
        peers=chosen,
        loads=options.load or LOADS,
        count=options.rounds,
        seconds=options.seconds,
        warm_up_s=options.warm_up,
        warming_s=options.warming,
        data=options.data,
        logs=out / "logs",
    )
    require_space(options.data, rounds.bytes_needed())
    comparison = Comparison(
        machine=describe(["peers", *words]),
        file_system=file_system(options.data)[0],
        rounds=options.rounds,
        systems=[
            System(
                name=peer.name,
                version=peer.version(),
                synced=peer.synced,
                durability=peer.durability,
            )
            for peer in chosen
        ],
        left_out=left_out,
    )
    print(f"results go to {out}", file=sys.stderr)
    return rounds, comparison


def _choose(names: Sequence[str]) -> tuple[list[Peer], list[str]]:
    """Return the systems that are there, and a line for each that is not.

    Raises:
        BenchError: one that was asked for by name is not there.
    """
    chosen, left_out = [], []
    for peer in [PEERS[name] for name in names or PEERS]:
        reason = peer.missing() or _memory_missing(peer)
        if reason is None:
            chosen.append(peer)
            reason = library_missing(peer)
        elif names:
            raise BenchError(f"{peer.name} is not to be had here: {reason}")
        if reason:
            left_out.append(f"{peer.name}: {reason}")
            print(f"left out: {left_out[-1]}", file=sys.stderr)
    return chosen, left_out


def _memory_missing(peer: Peer) -> str | None:
    """Return what a system's three nodes lack; None: nothing, as far as this machine tells."""
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    fields = dict(line.split(":") for line in path.read_text().splitlines())
    available_gb = int(fields["MemAvailable"].split()[0]) * 1_024 / 1e9
    if available_gb >= peer.memory_gb:
        return None
    return f"it needs {peer.memory_gb:.0f} GB of memory, {available_gb:.1f} are available"


def _show(comparison: Comparison, out: Path) -> None:
    """Print the table; keep it, and the plots."""
    out.mkdir(parents=True, exist_ok=True)
    text = markdown(comparison)
    (out / "table.md").write_text(f"{text}\n")
    plots(comparison, out)
    print(text)


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PEERS)}; or all")
    parser.add_argument("--rounds", type=_count, default=3)
    parser.add_argument("--seconds", type=_seconds, default=6.0, help="measured, of each run")
    parser.add_argument("--warm-up", type=_seconds, default=2.0, help="before that, of each run")
    parser.add_argument(
        "--warming", type=_seconds, help="of light load after each start; default: 5, Kafka 50"
    )
    parser.add_argument("--load", action="append", choices=LOADS, help="one of them; may be said "
                        "several times")  # fmt: skip
    parser.add_argument("--data", type=Path, default=BUILD, help="where servers store")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where results go; default: a "
                        f"directory of its own in {BUILD}")  # fmt: skip
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE", help="measure nothing")
    options = parser.parse_args(words)
    for name in options.names:
        if name not in PEERS:
            parser.error(f"no system {name}: choose from {', '.join(PEERS)}")
    if options.seconds == 0:
        parser.error("--seconds must be more than 0")
    return options


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 86_400:
        raise argparse.ArgumentTypeError(f"{text}: from 0 to a day")
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
