"""Everything at once: a random mix of faults under load, a quarter of the time none; then calm.

Each round has a seed, a fresh cluster, a load of all three client libraries and a reader that
follows; every few seconds other faults are in force. In the end all is healed, and everything that
was acknowledged must be there, for readers and in each node's own log, with a right history.

TRIMARAN_MIX_MINUTES (60: the long form), TRIMARAN_MIX_SEED (of the first round) and
TRIMARAN_MIX_RESULTS (a JSON file of finished rounds: those of the same source are not run again).
A round that fails prints its seed and what it did; clocks of real processes are not repeatable.
"""

import json
import os
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from trimaran.bench.trials import source_hash
from trimaran.server.process import NodeStartError
from trimaran.testing.breakable import BreakableCluster
from trimaran.testing.links import CLIENTS, both_ways
from trimaran.testing.waiting import let_pass

pytestmark = [pytest.mark.cluster, pytest.mark.clients, pytest.mark.needs("gcc")]

MINUTES = float(os.environ.get("TRIMARAN_MIX_MINUTES", "0.2"))
FIRST_SEED = int(os.environ.get("TRIMARAN_MIX_SEED", "1"))
RESULTS = os.environ.get("TRIMARAN_MIX_RESULTS")
ROUND_S = 60.0
CALM = 0.25
SETTINGS = {"storage": {"free_space_reserve_bytes": 0}}
RECOVER_S = 60.0


class Mix:
    """The faults of one round. Never more than one node is without its data or its power."""

    def __init__(self, cluster, chance):
        self.cluster, self.chance = cluster, chance
        self.counts = Counter()
        self.did = []

    def step(self):
        """Put other faults in force for a few seconds, then take them away."""
        seconds = self.chance.uniform(0.5, 4.0)
        if self.chance.random() < CALM:
            self._note("calm", None)
            let_pass(seconds)
            return
        faults = [
            self.kill, self.pause, self.isolate, self.cut_one_way, self.bridge, self.slow_links,
            self.slow_disk, self.full_disk, self.power_of_one, self.power_of_all, self.kill_twice,
        ]  # fmt: skip
        chosen = self.chance.sample(faults, self.chance.choice((1, 1, 2)))
        node = self.chance.choice(self.cluster.nodes)
        for fault in chosen:
            self._note(fault.__name__, node)
            fault(node)
        let_pass(seconds)
        self.heal()

    def heal(self):
        for node in self.cluster.nodes:
            self.cluster.power[node].behave()
            if self.cluster.is_running(node):
                self.cluster.resume(node)
        self.cluster.heal()
        try:
            self.cluster.start_all()
        except NodeStartError:  # begun while its disk failed, it ended just now
            self.cluster.start_all()

    def kill(self, node):
        if self.cluster.is_running(node):
            self.cluster.kill(node)

    def kill_twice(self, node):
        """The one that leads after the first is killed dies too, as soon as it is known."""
        self.kill(node)
        self.cluster.begin_all()  # not ready before what else is broken is healed
        other = self.chance.choice([one for one in self.cluster.nodes if one != node])
        self.kill(other)

    def pause(self, node):
        if self.cluster.is_running(node):
            self.cluster.pause(node)

    def isolate(self, node):
        self.cluster.isolate(node)

    def cut_one_way(self, node):
        others = [CLIENTS, *self.cluster.nodes]
        pairs = both_ways(node, others)
        self.cluster.links.block(pairs[:: self.chance.choice((1, 2))][1:])

    def bridge(self, node):
        other = self.chance.choice([one for one in self.cluster.nodes if one != node])
        self.cluster.links.block(both_ways(node, [other]))

    def slow_links(self, node):
        delay_ms = self.chance.choice((20, 75, 200))
        self.cluster.links.slow(both_ways(node, self.cluster.nodes), delay_ms=delay_ms)

    def slow_disk(self, node):
        self.cluster.power[node].behave(sync_delay_ms=self.chance.choice((50, 500, 2_000)))

    def full_disk(self, node):
        self.cluster.power[node].behave(write_errno=28)

    def power_of_one(self, node):
        self.cluster.cut_power([node], self.chance)

    def power_of_all(self, _node):
        self.cluster.cut_power(self.cluster.nodes, self.chance)
        self.cluster.begin_all()

    def _note(self, name, node):
        self.counts[name] += 1
        self.did.append(f"{name} {node or ''}")


def rounds():
    """Yield (seed, seconds) of what is still to be run."""
    left_s = MINUTES * 60
    seed = FIRST_SEED
    done = {row["seed"]: row["seconds"] for row in finished()}
    while left_s > 0:
        seconds = min(left_s, ROUND_S)
        if seed not in done:
            yield seed, seconds
        left_s -= done.get(seed, seconds)
        seed += 1


def finished():
    if RESULTS is None or not Path(RESULTS).exists():
        return []
    found = json.loads(Path(RESULTS).read_text())
    return found["rounds"] if found["source"] == source_hash() else []


def store(row):
    if RESULTS is not None:
        whole = {"source": source_hash(), "rounds": [*finished(), row]}
        fresh = Path(RESULTS + ".new")
        fresh.write_text(json.dumps(whole, indent=2) + "\n")
        fresh.replace(RESULTS)


def test_a_random_mix_of_faults_loses_nothing(crowd_of, tail_of, new_topic, verdict):
    for seed, seconds in rounds():
        chance = Random(seed)
        with BreakableCluster(nodes=3, links=True, power=True, settings=SETTINGS) as cluster:
            topic = new_topic(cluster.bootstrap_servers)
            crowd = crowd_of(cluster, topic)
            tail = tail_of(cluster.bootstrap_servers, topic)
            crowd.wait_for_more(20)
            mix = Mix(cluster, chance)
            begun = time.monotonic()
            try:
                while time.monotonic() - begun < seconds:
                    mix.step()
                mix.heal()
                healed = time.monotonic()
                crowd.wait_for_more(20)
                took_s = time.monotonic() - healed
                assert took_s < RECOVER_S
                crowd.finish()
                verdict(cluster).check(topic, crowd, tail=tail, killed=True)
            except BaseException:
                print(f"seed {seed}: {mix.did}")
                for node in cluster.nodes:
                    print(f"log of node {node}:\n{cluster.log(node)[-6_000:]}")
                raise
            print(f"seed {seed}: {len(crowd.acked)} acknowledged, {dict(mix.counts)}")
            store(
                {
                    "seed": seed,
                    "seconds": seconds,
                    "acknowledged": len(crowd.acked),
                    "unknown": len(crowd.failed()),
                    "recovered_s": round(took_s, 2),
                    "faults": dict(mix.counts),
                }
            )
