"""`trimaran node`: one node, from its settings to its last breath.

Order: settings, identity, lock, recovery (blocking, before there is a loop), then `serve`. Exit
codes: 0 stopped as asked; 1 the node failed (disk, broken invariant); 2 it must not start like this
(settings, foreign or unformatted directory, port in use): starting it again changes nothing.
Does not: parse settings, replicate, or serve; and imports no more than that takes, for a node must
be up in a moment.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from trimaran.config import LoggingSection, NodeConfig
from trimaran.errors import ConfigError, StorageError, TrimaranError
from trimaran.server.launch import Launch, StartError
from trimaran.server.logs import set_up_logging
from trimaran.server.memory import tune_allocator
from trimaran.server.running import DirectoryInUseError, DirectoryLock
from trimaran.server.settings import read_config
from trimaran.storage.files import RealFiles
from trimaran.storage.identity import IDENTITY_PATH, Identity, read_identity

STOPPED = 0
FAILED = 1
MUST_NOT_START = 2
SWITCH_INTERVAL_S = 0.0005
"""A worker thread that holds the interpreter gives it back to the loop this soon (default 5 ms)."""

log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Run the node that the command line `arguments` describe; return the exit code."""
    options = parse(arguments)
    begin_logging(options, LoggingSection())  # so that wrong settings can be told
    try:
        config = read_config(Path(options.config))
        begin_logging(options, config.logging, node=config.node.id)
        return run_node(config, Launch(ready_fd=options.ready_fd, owner_fd=options.owner_fd))
    except ConfigError as error:
        for problem in error.problems:
            log.error("%s", problem)
        return MUST_NOT_START
    except (StartError, DirectoryInUseError) as error:
        log.error("%s", error)
        return MUST_NOT_START
    except (TrimaranError, OSError) as error:
        log.critical("node failed: %s", str(error) or type(error).__name__)
        return FAILED
    except Exception:  # a broken invariant: the traceback is what matters
        log.critical("node failed: a mistake in the program", exc_info=True)
        return FAILED


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; exits with code 2 on wrong ones."""
    parser = argparse.ArgumentParser(
        prog="trimaran node",
        description="Run one node of a cluster in the foreground.",
        epilog="Exit codes: 0 stopped as asked, 1 failed, 2 must not start like this.",
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="settings, YAML")
    goes_before = "goes before the settings"
    parser.add_argument("--log-format", choices=["console", "json"], help=goes_before)
    parser.add_argument(
        "--log-level", choices=["debug", "info", "warning", "error"], help=goes_before
    )
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--owner-fd", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def begin_logging(
    options: argparse.Namespace, settings: LoggingSection, *, node: int | None = None
) -> None:
    """Set logging up as the command line says, or else the settings."""
    text_format = options.log_format or settings.format
    level = options.log_level or settings.level
    set_up_logging(level=level, as_json=text_format == "json", node=node)


def run_node(config: NodeConfig, launch: Launch) -> int:
    """Run a node until it is asked to stop.

    Raises:
        StartError, DirectoryInUseError: it must not start like this.
        TrimaranError, OSError: it failed.
    """
    data = Path(config.node.data_directory)
    files = RealFiles(str(data))
    identity = checked_identity(config, files)
    lock = DirectoryLock(data)
    try:
        # kio would load the test library where it is installed, for a sixth of a second.
        sys.modules.setdefault("hypothesis", None)  # type: ignore[arg-type]
        # Loading the broker takes longer than everything above: what must not start says so first.
        from trimaran.server.serve import run_broker

        sys.setswitchinterval(SWITCH_INTERVAL_S)
        tune_allocator()
        run_broker(config, files, identity, launch)
    finally:
        lock.release()
    return STOPPED


def checked_identity(config: NodeConfig, files: RealFiles) -> Identity:
    """Return the identity of the data directory, if it is this node's.

    Raises:
        StartError: unformatted, unreadable, newer, or of another cluster or node.
    """
    data = config.node.data_directory
    if not files.exists(IDENTITY_PATH):
        raise StartError(
            f"{data} was never formatted: `trimaran format --config FILE` begins a new cluster, "
            f"`trimaran format --join --config FILE` gives a node of an existing one a new disk"
        )
    try:
        identity = read_identity(files)
    except StorageError as error:
        raise StartError(f"{data} cannot be used: {error}") from error
    if identity.node_id != config.node.id:
        raise StartError(
            f"{data} belongs to node {identity.node_id}, this is node {config.node.id}: "
            f"check node.id and node.data_directory"
        )
    if config.cluster.id is not None and identity.cluster_id != config.cluster.id:
        raise StartError(
            f"{data} belongs to cluster {identity.cluster_id}, the settings say "
            f"{config.cluster.id}: check cluster.id and node.data_directory"
        )
    return identity
