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
from pathlib import Path
from random import Random

import pytest

from tests.cluster.breaking.mix import Mix
from trimaran.bench.trials import source_hash
from trimaran.testing.breakable import BreakableCluster

pytestmark = [pytest.mark.cluster, pytest.mark.clients, pytest.mark.needs("gcc")]

MINUTES = float(os.environ.get("TRIMARAN_MIX_MINUTES", "0.2"))
FIRST_SEED = int(os.environ.get("TRIMARAN_MIX_SEED", "1"))
RESULTS = os.environ.get("TRIMARAN_MIX_RESULTS")
ROUND_S = 60.0
SETTINGS = {"storage": {"free_space_reserve_bytes": 0}}
RECOVER_S = 10.0
"""Until every producer has answers again; what it took so far was under a second."""


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
                assert took_s < RECOVER_S, f"answers again after {took_s:.1f} s"
                mix.expect_alive()
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
