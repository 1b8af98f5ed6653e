"""Stories told as commands and the trace they leave; see scripts/*.txt.

A script is a row of blocks: commands, a line `----`, what happened. Text without `----` is for the
reader. `pytest tests/raft --rewrite` writes down what happens now; commit only what you understand.

    cluster N [eager] [inflight=N] [message=BYTES]   N members, all followers of nobody
    campaign N | forget N... | quorum-lost N         deadlines and silence, as the driver sees them
    propose N PAYLOAD... | read N CONTEXT | beat N   a leader's work
    transfer N TARGET | abort N                      handing over
    sync N [ROUNDS] | deliver [A>B] | drop A>B...    one step of a disk or of the wire
    repeat A>B                                       deliver a message and keep it on the wire
    cut N                                            lose all that is under way from and to N
    settle [without N...]                            deliver and sync all there is
    crash N [keeping ROUNDS] | restart N | wipe N    of what is not synced, some rounds may survive
    reset N PEER                                     N's connection to PEER was made anew
    release N INDEX | compact N INDEX                drop from memory; move the log start
    show | clear                                     every member's state; forget the trace so far
"""

from pathlib import Path

import pytest

from trimaran.errors import NotLeaderError, ProposalRefusedError
from trimaran.ids import NodeId
from trimaran.raft.progress import RaftLimits
from trimaran.sim.core_cluster import CoreCluster
from trimaran.sim.core_letters import describe_entries

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))


class Stage:
    """Runs one script's commands."""

    def __init__(self) -> None:
        self.cluster = CoreCluster(1)

    def run(self, commands: list[str]) -> str:
        """Return what the commands did, one line each."""
        for command in commands:
            name, *words = command.split()
            getattr(self, "do_" + name.replace("-", "_"))(*words)
        lines = self.cluster.trace[:]
        self.cluster.trace.clear()
        return "\n".join(lines) or "(nothing)"

    def do_cluster(self, size: str, *settings: str) -> None:
        values = dict(setting.partition("=")[::2] for setting in settings)
        limits = RaftLimits(
            inflight_messages_max=int(values.get("inflight", 64)),
            message_bytes_max=int(values.get("message", 2**20)),
        )
        self.cluster = CoreCluster(int(size), limits=limits, eager_commit="eager" in values)

    def do_campaign(self, node: str) -> None:
        self.cluster.campaign(int(node))

    def do_forget(self, *nodes: str) -> None:
        for node in nodes:
            self.cluster.core(int(node)).forget_leader()
            self.cluster.collect(int(node))

    def do_quorum_lost(self, node: str) -> None:
        self.cluster.core(int(node)).quorum_lost()
        self.cluster.collect(int(node))

    def do_propose(self, node: str, *payloads: str) -> None:
        for payload in payloads:
            try:
                self.cluster.propose(int(node), payload.encode())
            except (NotLeaderError, ProposalRefusedError) as refusal:
                self.cluster.trace.append(f"{node} refuses {payload}: {refusal}")

    def do_read(self, node: str, context: str) -> None:
        self.cluster.read(int(node), int(context))

    def do_beat(self, node: str) -> None:
        self.cluster.beat(int(node))

    def do_transfer(self, node: str, target: str) -> None:
        self.cluster.core(int(node)).transfer(NodeId(int(target)))
        self.cluster.collect(int(node))

    def do_abort(self, node: str) -> None:
        self.cluster.core(int(node)).abort_transfer()

    def do_sync(self, node: str, rounds: str | None = None) -> None:
        self.cluster.sync(int(node), None if rounds is None else int(rounds))

    def do_deliver(self, *links: str) -> None:
        if links:
            for link in links:
                self.cluster.deliver(self.oldest(link))
            return
        for _ in range(len(self.cluster.wire)):
            self.cluster.deliver()

    def do_drop(self, *links: str) -> None:
        for link in links:
            self.cluster.trace.append(f"lost: {self.cluster.drop(self.oldest(link))}")

    def do_repeat(self, link: str) -> None:
        position = self.oldest(link)
        self.cluster.wire.insert(position, self.cluster.deliver(position))

    def do_cut(self, node: str) -> None:
        wire = self.cluster.wire
        wire[:] = [each for each in wire if int(node) not in (each.sender, each.receiver)]

    def do_settle(self, *words: str) -> None:
        self.cluster.settle(cut_off=[int(word) for word in words[1:]])

    def do_crash(self, node: str, *words: str) -> None:
        self.cluster.crash(int(node), rounds_kept=int(words[1]) if words else 0)

    def do_restart(self, node: str) -> None:
        self.cluster.restart(int(node))

    def do_wipe(self, node: str) -> None:
        self.cluster.wipe(int(node))
        self.cluster.checks.wiped(NodeId(int(node)))

    def do_reset(self, node: str, peer: str) -> None:
        self.cluster.reset(int(node), int(peer))

    def do_release(self, node: str, index: str) -> None:
        self.cluster.release(int(node), int(index))

    def do_compact(self, node: str, index: str) -> None:
        self.cluster.compact(int(node), int(index))

    def do_show(self) -> None:
        for member in self.cluster.members.values():
            core = member.node
            if core is None:
                self.cluster.trace.append(f"{member.node_id} down")
                continue
            self.cluster.trace.append(
                f"{core.node_id} {core.role.value} term={core.term} leader={core.leader}"
                f" commit={core.commit_index} synced={core.synced_index}"
                f" {describe_entries(core.log.slice(core.log.first_index))}"
            )
            for peer, progress in core.progress.items():
                self.cluster.trace.append(
                    f"  {peer} {progress.state.value} match={progress.match} next={progress.next}"
                    f" unanswered={progress.inflight_count}"
                )

    def do_clear(self) -> None:
        self.cluster.trace.clear()

    def oldest(self, link: str) -> int:
        """Return the place of the oldest message from A to B on the wire."""
        sender, receiver = (int(node) for node in link.split(">"))
        for position, envelope in enumerate(self.cluster.wire):
            if (envelope.sender, envelope.receiver) == (sender, receiver):
                return position
        raise AssertionError(f"no message {link}; the wire holds {self.cluster.wire}")


def replay(text: str) -> str:
    """Return the script with what its commands do now."""
    stage = Stage()
    blocks: list[str] = []
    for block in text.strip().split("\n\n"):
        lines = block.split("\n")
        if "----" in lines:
            commands = lines[: lines.index("----")]
            block = "\n".join([*commands, "----", stage.run(commands)])
        blocks.append(block)
    return "\n\n".join(blocks) + "\n"


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_the_script_happens_as_written(path: Path, rewrite: bool) -> None:
    text = path.read_text()

    happened = replay(text)

    if rewrite:
        path.write_text(happened)
    else:
        assert happened == text


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 20
