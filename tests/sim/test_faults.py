"""What seeds draw, that faults are what they say, and how a cluster is narrowed to a majority."""

from random import Random

import pytest

from trimaran.sim.disk import Disk
from trimaran.sim.disk_faults import TORN_SECTORS
from trimaran.sim.faults import FAULTS, HONEST_KINDS, KINDS, STORAGE_DAMAGE_KINDS, draw_mix
from trimaran.sim.files import SimFiles
from trimaran.sim.report import RunOptions
from trimaran.sim.run import SeedRun
from trimaran.sim.trace import EventLog


@pytest.fixture
def make_run():
    runs = []

    def make(seed=1, nodes=3, kinds=()):
        run = SeedRun(RunOptions(seed=seed, nodes=nodes, kinds=kinds))
        runs.append(run)
        return run

    yield make
    for run in runs:
        run.loop.close()


def on_loop(run, work):
    """Run `work` inside the simulation."""

    async def call():
        return work()

    return run.loop.run_until_complete(call())


def names(nodes):
    return [node.name for node in nodes]


def blocked(run):
    """Return which links between machines are blocked."""
    machines = run.faults.site.machines
    return {
        (source, target)
        for source in machines
        for target in machines
        if source != target and run.network.link(source, target).blocked
    }


def test_a_quarter_of_the_seeds_is_calm():
    calm = [seed for seed in range(400) if not draw_mix(f"{seed}/faults", None).kinds]

    assert 75 <= len(calm) <= 125


def test_every_kind_is_drawn_by_some_seed_and_a_lying_disk_by_a_fifth_of_them():
    mixes = [draw_mix(f"{seed}/faults", None).kinds for seed in range(400)]
    lying = [kinds for kinds in mixes if set(kinds) & set(STORAGE_DAMAGE_KINDS)]

    assert {kind for kinds in mixes for kind in kinds} == set(KINDS)
    assert 60 <= len(lying) <= 130
    assert set(KINDS) == {*HONEST_KINDS, *STORAGE_DAMAGE_KINDS}


def test_naming_some_of_the_kinds_keeps_their_pace():
    drawn = draw_mix("3/faults", None)
    part = draw_mix("3/faults", drawn.kinds[:1])

    assert len(drawn.kinds) > 1
    assert part.interval_s == drawn.interval_s


def test_a_bridge_is_seen_by_both_halves_which_do_not_see_each_other(make_run):
    run = make_run(nodes=5)

    assert on_loop(run, lambda: FAULTS["bridge"](run.faults.site, Random(1)))

    cut = blocked(run)
    middle = [name for name in names(run.cluster.nodes) if not any(name in pair for pair in cut)]
    assert len(middle) == 1
    assert len(cut) == 2 * 2 * 2


def test_in_a_ring_each_node_sees_two_others(make_run):
    run = make_run(nodes=5)

    assert on_loop(run, lambda: FAULTS["ring"](run.faults.site, Random(1)))

    cut = blocked(run)
    for name in names(run.cluster.nodes):
        assert sum(source == name for source, _ in cut) == 2
        assert sum(target == name for _, target in cut) == 2


def test_a_one_way_cut_leaves_the_other_way_open(make_run):
    run = make_run()

    assert on_loop(run, lambda: FAULTS["one-way cut"](run.faults.site, Random(1)))

    cut = blocked(run)
    assert cut
    assert all((target, source) not in cut for source, target in cut)


def test_cuts_that_overlap_end_when_the_last_of_them_is_mended(make_run):
    run = make_run()
    run.network.cut(["node-1"], ["node-2"])
    run.network.cut(["node-1"], ["node-2", "node-3"], both=False)
    run.network.mend(["node-1"], ["node-2"])

    assert blocked(run) == {("node-1", "node-2"), ("node-1", "node-3")}
    run.network.mend(["node-1"], ["node-2", "node-3"], both=False)
    assert blocked(run) == set()


@pytest.mark.parametrize(("nodes", "majority"), [(1, 1), (3, 2), (5, 3)])
def test_narrowing_heals_a_majority_and_leaves_the_rest_broken_for_good(make_run, nodes, majority):
    run = make_run(nodes=nodes, kinds=("isolate",))
    everybody = names(run.cluster.nodes)

    def break_all_then_narrow():
        for node in run.cluster.nodes:
            run.cluster.start(node)
        run.network.cut(everybody, everybody)
        return run.faults.narrow()

    healthy = names(on_loop(run, break_all_then_narrow))

    cut = blocked(run)
    assert len(healthy) == majority
    assert not [pair for pair in cut if set(pair) <= {*healthy, *run.crowd.names}]
    for name in everybody:
        if name not in healthy:
            assert all((name, other) in cut and (other, name) in cut for other in healthy)


def test_a_calm_cluster_is_left_whole_when_it_is_narrowed(make_run):
    run = make_run()

    def start_then_narrow():
        for node in run.cluster.nodes:
            run.cluster.start(node)
        run.faults.narrow()

    on_loop(run, start_then_narrow)

    assert blocked(run) == set()
    assert all(node.is_running and not node.is_paused for node in run.cluster.nodes)


def test_only_one_node_of_a_run_has_a_disk_that_lies(make_run):
    run = make_run(kinds=STORAGE_DAMAGE_KINDS)
    site = run.faults.site
    seen = set()

    def strike():
        for seed in range(20):
            for kind in ("bit rot", "unreadable sectors", "torn sectors", "wiped disk"):
                FAULTS[kind](site, Random(f"{seed}/{kind}"))
                seen.add(site.damaged.name)
        return run.faults.narrow()

    healthy = on_loop(run, strike)

    assert len(seen) == 1
    assert not seen & set(names(healthy))
    others = [node for node in run.cluster.nodes if node.name not in seen]
    assert all(node.disk_number == 1 for node in others)
    assert 0.0 < TORN_SECTORS < 1.0


def test_a_misdirected_write_goes_elsewhere_once_and_shows_when_the_next_one_is_synced():
    disk = Disk("disk", Random(1), EventLog(lambda: 0.0))
    files = SimFiles(disk, who="node")
    files.make_directory("journal")
    file = files.open("journal/1", create=True)
    file.pwrite([b"o" * 100_000], 0)
    file.sync()
    disk.fail_next("misdirect", "journal/")

    file.pwrite([b"a" * 512], 51_200)
    assert disk.is_write_astray
    assert file.pread(512, 51_200) == b"o" * 512, "old bytes stand where the new ones should"
    assert file.pread(100_000, 0).count(b"a") == 512
    file.sync()
    assert disk.is_write_astray, "nothing stands behind it yet"
    file.pwrite([b"b" * 512], 51_712)
    file.sync()

    assert not disk.is_write_astray
    assert file.pread(512, 51_712) == b"b" * 512
    assert disk.counts == {"misdirected write": 1}


def test_a_node_outside_the_majority_is_not_left_cut_off_from_clients_alone(make_run):
    run = make_run(kinds=("isolate from clients",))
    nodes = names(run.cluster.nodes)

    def cut_then_narrow():
        for node in run.cluster.nodes:
            run.cluster.start(node)
        run.network.cut(run.crowd.names, nodes)
        run.faults.narrow()

    on_loop(run, cut_then_narrow)

    assert blocked(run) == set()
