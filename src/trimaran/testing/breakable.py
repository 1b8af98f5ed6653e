"""A cluster that can be broken in more ways than by killing: links, disks, power.

    with BreakableCluster(nodes=3, links=True, power=True) as cluster:
        cluster.isolate(1)
        cluster.heal()
        cluster.cut_power([1, 2, 3], Random(7))

Does not: decide what is broken when.
"""

import dataclasses
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml

from trimaran.config import load_config
from trimaran.ids import ClusterId, NodeId
from trimaran.server.found import format_node
from trimaran.server.local import LocalCluster
from trimaran.server.places import NodePlace
from trimaran.testing.cluster import Cluster
from trimaran.testing.links import CLIENTS, Links, both_ways, open_links
from trimaran.testing.power import CutReport, PowerDisk, build_library

if TYPE_CHECKING:
    from collections.abc import Callable

Settings = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedPlace(NodePlace):
    """A node whose command has something before it."""

    prefix: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        """The argument list that starts this node again."""
        return [*self.prefix, *NodePlace.command.__get__(self)]


class BreakableCluster(Cluster):
    """See the module. Everything is whole at first."""

    def __init__(
        self,
        nodes: int = 3,
        *,
        directory: Path | None = None,
        links: "bool | Callable[[Sequence[int]], Links]" = False,
        power: bool = False,
        settings: Settings = MappingProxyType({}),
        disk_megabytes: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        """Found and start it.

        Args:
            nodes: 1 to 9.
            directory: kept afterwards if given.
            links: whether links can be blocked; or what makes them.
            power: whether the power of nodes can be cut; needs gcc.
            settings: of every node, by section, beside what a local cluster sets.
            disk_megabytes: nodes whose data is on a file system of its own, in memory, so small;
                needs root.

        Raises:
            NodeStartError: a node did not start.
            OSError, CalledProcessError: the links or the disk's library could not be made.
        """
        self.links: Links | None = None
        self.power: dict[int, PowerDisk] = {}
        self._settings = settings
        self._disk_megabytes = disk_megabytes
        self._mounted: list[Path] = []
        self._opened = open_links if links is True else links or None
        self._library = build_library() if power else None
        super().__init__(nodes, directory=directory)

    def _arrange(self, founded: LocalCluster) -> LocalCluster:
        if self._opened is not None:
            self.links = self._opened([int(node) for node in founded.nodes])
        if self._library is not None:
            self.power = {
                int(node): PowerDisk(place.data, library=self._library)
                for node, place in founded.nodes.items()
            }
        for node, megabytes in self._disk_megabytes.items():
            self._mount(founded.nodes[NodeId(node)].data, megabytes)
        rewritten = [self._place(place, founded) for place in founded.nodes.values()]
        for _, text in rewritten:
            load_config(text, {})
        for place, text in rewritten:
            place.settings_path.write_text(text)
        return LocalCluster(founded.directory, [place for place, _ in rewritten])

    def _place(self, place: NodePlace, founded: LocalCluster) -> tuple[NodePlace, str]:
        """Return where a node is and its settings, links and disk taken into account."""
        node, links = int(place.node_id), self.links
        settings = yaml.safe_load(place.settings_path.read_text())
        for section, values in self._settings.items():
            settings.setdefault(section, {}).update(values)
        prefix = self.power[node].prefix if node in self.power else ()
        host, kafka_port = place.host, place.kafka_port
        if links is not None:
            host = links.host(node)
            for member in settings["cluster"]["nodes"]:
                port = founded.nodes[NodeId(member["id"])].peer_port
                if member["id"] == node:
                    member["host"] = host
                else:
                    reached = links.peer_address(node, member["id"], port)
                    member["host"], member["peer_port"] = reached
            settings["kafka"]["host"] = settings["http"]["host"] = host
            host, kafka_port = links.client_address(node, place.kafka_port)
            settings["kafka"] |= {"advertised_host": host, "advertised_port": kafka_port}
            prefix = (*links.prefix(node), *prefix)
        fields = {one.name: getattr(place, one.name) for one in dataclasses.fields(NodePlace)}
        fields |= {"host": host, "kafka_port": kafka_port, "prefix": prefix}
        return WrappedPlace(**fields), yaml.safe_dump(settings, sort_keys=False)

    def _mount(self, data: Path, megabytes: int) -> None:
        """Put a data directory on a small file system of its own, with what is in it."""
        aside = data.with_name(data.name + ".aside")
        data.rename(aside)
        data.mkdir()
        size = f"size={megabytes}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(data)], check=True)
        self._mounted.append(data)
        shutil.copytree(aside, data, dirs_exist_ok=True)
        shutil.rmtree(aside)

    def isolate(self, node: int, *, from_clients: bool = True) -> None:
        """Cut a node off from all others and, unless told otherwise, from clients; silently."""
        assert self.links is not None
        self.links.block(both_ways(node, self._sides(from_clients)))
        if from_clients:
            self._paused[node] = None  # nobody can ask it who leads

    def heal(self) -> None:
        """Open every link."""
        assert self.links is not None
        pairs = [(one, other) for one in self._sides(True) for other in self._sides(True)]
        pairs = [pair for pair in pairs if pair[0] != pair[1]]
        self.links.block(pairs, blocked=False)
        self.links.slow(pairs, delay_ms=0)
        self._paused.clear()

    def cut_power(self, nodes: Iterable[int], chance: Random) -> dict[int, CutReport]:
        """Kill nodes at once and lose what they had not synced; they can be started afterwards."""
        chosen = list(nodes)
        for node in chosen:
            if self.is_running(node):
                self.kill(node)
        return {node: self.power[node].cut(chance) for node in chosen}

    def wipe(self, node: int) -> None:
        """Replace a dead node's disk by an empty one with a new disk id, under its old node id."""
        assert not self.is_running(node)
        place = self._local.nodes[NodeId(node)]
        shutil.rmtree(place.data)
        config = load_config(place.settings_path.read_text(), {})
        assert config.cluster.id is not None
        format_node(config, cluster_id=ClusterId(config.cluster.id), join=True)
        if node in self.power:
            self.power[node].forget()

    def _take_down(self) -> None:
        """Stop every node, then take links and mounts down."""
        super()._take_down()
        while self._mounted:
            subprocess.run(["umount", str(self._mounted[-1])], check=False)
            self._mounted.pop()
        if self.links is not None:
            self.links.close()

    def _sides(self, with_clients: bool) -> list[int]:
        return [*([CLIENTS] if with_clients else []), *self.nodes]
