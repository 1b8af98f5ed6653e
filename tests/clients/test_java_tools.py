"""Kafka's own command line tools, from the jars of Apache Kafka, used as its users do."""

import json
import os
import re
import subprocess
import uuid

import pytest

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.clients,
    pytest.mark.skipif(
        not os.environ.get("TRIMARAN_ALL_CLIENTS"), reason="part of make test-clients only"
    ),
    pytest.mark.needs("java", "mvn"),
]

TOOL_S = 90.0
CONSOLE_PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
CONSOLE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
TOPICS = "org.apache.kafka.tools.TopicCommand"
VERIFIABLE_PRODUCER = "org.apache.kafka.tools.VerifiableProducer"
PERF_TEST = "org.apache.kafka.tools.ProducerPerformance"
CONFIGS = "kafka.admin.ConfigCommand"


@pytest.fixture
def run(shared_cluster, built, jars):
    built("jars")

    def tool(name, *words, text=None, server="--bootstrap-server"):
        where = [server, shared_cluster.bootstrap_servers] if server else []
        done = subprocess.run(
            ["java", "-Xmx256m", "-cp", f"{jars}/*", name, *where, *words],
            input=text,
            capture_output=True,
            text=True,
            timeout=TOOL_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return tool


@pytest.fixture
def name(run):
    fresh = f"tools-{uuid.uuid4().hex[:8]}"
    run(TOPICS, "--create", "--topic", fresh, "--partitions", "2", "--replication-factor", "3")
    return fresh


@pytest.mark.tool("kafka-topics, kafka-configs")
def test_topics_are_made_described_changed_and_deleted(run, name):
    told = run(TOPICS, "--describe", "--topic", name)
    assert "PartitionCount: 2" in told
    assert len(re.findall(r"Leader: [123]\b", told)) == 2
    run(TOPICS, "--alter", "--topic", name, "--partitions", "4")
    kind = ("--entity-type", "topics", "--entity-name", name)
    run(CONFIGS, "--alter", *kind, "--add-config", "retention.ms=3600000")

    assert "PartitionCount: 4" in run(TOPICS, "--describe", "--topic", name)
    assert "retention.ms=3600000" in run(CONFIGS, "--describe", *kind)
    run(TOPICS, "--delete", "--topic", name)
    assert name not in run(TOPICS, "--list").splitlines()


@pytest.mark.tool("kafka-console-producer, kafka-console-consumer, kafka-consumer-groups")
def test_lines_go_in_and_out_and_the_group_is_told(run, name):
    lines = [f"line {number}" for number in range(100)]
    run(CONSOLE_PRODUCER, "--topic", name, text="\n".join(lines) + "\n")
    group = f"group-{name}"
    limits = ("--max-messages", "100", "--timeout-ms", "30000")

    read = run(CONSOLE_CONSUMER, "--topic", name, "--from-beginning", "--group", group, *limits)

    assert sorted(read.splitlines()) == sorted(lines)
    assert group in run(GROUPS, "--list").splitlines()
    rows = [
        row.split()
        for row in run(GROUPS, "--describe", "--group", group).splitlines()
        if name in row
    ]
    assert sum(int(row[3]) for row in rows) == 100, "current offsets"
    assert sum(int(row[5]) for row in rows) == 0, "lag"
    reset = ("--reset-offsets", "--to-earliest", "--topic", name, "--execute")
    run(GROUPS, "--group", group, *reset)
    run(GROUPS, "--delete", "--group", group)
    assert group not in run(GROUPS, "--list").splitlines()


@pytest.mark.tool("kafka-verifiable-producer")
def test_a_verifiable_producer_gets_every_ack(run, name):
    words = ("--topic", name, "--max-messages", "500", "--acks", "-1")

    told = run(VERIFIABLE_PRODUCER, *words)

    events = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    acked = [one for one in events if one["name"] == "producer_send_success"]
    assert len({(one["partition"], one["offset"]) for one in acked}) == 500
    assert not [one for one in events if one["name"] == "producer_send_error"]


@pytest.mark.tool("kafka-producer-perf-test")
def test_the_producer_perf_test_sends_all_its_records(run, name, shared_cluster):
    properties = ("--producer-props", f"bootstrap.servers={shared_cluster.bootstrap_servers}")
    size = ("--num-records", "20000", "--record-size", "100", "--throughput", "-1")

    told = run(PERF_TEST, "--topic", name, *size, *properties, server=None)

    assert "20000 records sent" in told
