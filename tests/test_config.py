"""A node's configuration: what is read, and that everything wrong is named at once."""

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.config import (
    ClusterSection,
    HttpSection,
    KafkaSection,
    LoggingSection,
    NodeConfig,
    NodeSection,
    PeerAddress,
    ReplicationSection,
    TopicSection,
    describe,
    load_config,
    to_yaml,
)
from trimaran.config.loading import CONFIG_CHARACTERS_MAX
from trimaran.errors import ConfigError

MINIMAL = """
node: {id: 1, data_directory: /data}
cluster:
  nodes:
    - {id: 1, host: a, peer_port: 7001}
    - {id: 2, host: b, peer_port: 7001}
"""


def problems(text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_config(text, environment)
    assert str(raised.value) == "\n".join(raised.value.problems)
    return raised.value.problems


def test_two_sections_are_enough_and_the_rest_has_defaults():
    config = load_config(MINIMAL, {})

    assert config == NodeConfig(
        node=NodeSection(id=1, data_directory="/data"),
        cluster=ClusterSection(
            nodes=(
                PeerAddress(id=1, host="a", peer_port=7001),
                PeerAddress(id=2, host="b", peer_port=7001),
            )
        ),
    )
    assert config.member.host == "a"
    assert (config.kafka.port, config.http.port) == (9_092, 8_080)
    assert config.replication.batch_max_events == 64
    assert config.replication.batch_linger_ms == 1
    assert config.storage.tail_bytes == 32 * 1_024 * 1_024
    assert (config.topic.num_partitions, config.topic.auto_create_topics) == (4, True)


def test_environment_goes_before_the_file():
    config = load_config(
        MINIMAL + "kafka: {port: 1111}\nhttp:\n",
        {
            "TRIMARAN_KAFKA_PORT": "2222",
            "TRIMARAN_KAFKA_ADVERTISED_HOST": "127.1",
            "TRIMARAN_NODE_RACK": "12",
            "TRIMARAN_CLUSTER_ID": "1234567890123456789012",
            "TRIMARAN_TOPIC_AUTO_CREATE_TOPICS": "false",
            "TRIMARAN_REPLICATION_BATCH_LINGER_MS": "0.5",
            "TRIMARAN_NODE_ID": "",
            "PATH": "/bin",
        },
    )

    assert (config.kafka.port, config.kafka.advertised_host) == (2_222, "127.1")
    assert config.node.rack == "12", "a text stays a text"
    assert config.cluster.id == "1234567890123456789012"
    assert not config.topic.auto_create_topics
    assert config.replication.batch_linger_ms == 0.5
    assert config.node.id == 1, "an empty value is as if it were not there"


def test_variables_of_others_are_left_alone_but_nearly_ours_are_not():
    others = {"TRIMARAN_PROFILE": "ci", "TRIMARAN_TOOLS_REQUIRED": "1", "KAFKA_PORT": "x"}

    assert load_config(MINIMAL, others) == load_config(MINIMAL, {})
    assert problems(MINIMAL, TRIMARAN_KAFKA_BROKER_RACK="r", TRIMARAN_KAKFA_PORT="1") == [
        "TRIMARAN_KAFKA_BROKER_RACK: unknown field; did you mean TRIMARAN_KAFKA_PORT?",
        "TRIMARAN_KAKFA_PORT: unknown field; did you mean TRIMARAN_KAFKA_PORT?",
    ]


def test_environment_alone_is_enough():
    config = load_config(
        "",
        {
            "TRIMARAN_NODE_ID": "3",
            "TRIMARAN_NODE_DATA_DIRECTORY": "/d",
            "TRIMARAN_CLUSTER_NODES": "[{id: 3, host: c, peer_port: 1}]",
        },
    )

    assert config.cluster.nodes == (PeerAddress(id=3, host="c", peer_port=1),)


def test_yaml_text_gives_the_same_configuration_back():
    config = load_config(MINIMAL, {"TRIMARAN_NODE_HOST_LABEL": "m", "TRIMARAN_HTTP_PORT": "0"})

    assert load_config(to_yaml(config), {}) == config
    assert to_yaml(config).startswith("node:\n  id: 1\n  data_directory: /data\n  host_label: m\n")


@given(
    st.builds(
        NodeConfig,
        node=st.builds(
            NodeSection,
            id=st.just(2),
            data_directory=st.text(min_size=1, max_size=20),
            host_label=st.none() | st.text(min_size=1, max_size=20),
        ),
        cluster=st.just(ClusterSection(nodes=(PeerAddress(id=2, host="b", peer_port=1),))),
        kafka=st.builds(KafkaSection, port=st.integers(0, 65_535)),
        replication=st.builds(ReplicationSection, batch_linger_ms=st.floats(0, 100)),
        topic=st.builds(TopicSection, default_replication_factor=st.none() | st.just(1)),
    )
)
def test_any_configuration_comes_back_from_its_yaml(config):
    assert load_config(to_yaml(config), {}) == config


def test_every_problem_is_named_at_once_with_its_path():
    text = """
node: {id: 0, rack: 5, data_director: /d, 5: 6}
cluster:
  id: short
  nodes:
    - {id: 1, hst: a, peer_port: 70000}
    - just text
kafak: {}
1: 2
http: 8080
kafka: {port: "9092", host: 0.0.0.0, prot: 1, inflight_requests_max: true}
replication: {heartbeat_ms: 200, election_timeout_max_ms: 100, batch_linger_ms: .nan}
topic: {default_replication_factor: 9}
"""

    assert problems(
        text,
        TRIMARAN_KAKFA_PORT="1",
        TRIMARAN_JOURNAL_FILE_BYTES="lots",
        TRIMARAN_STORAGE_TAIL_BYTES="'",
    ) == [
        "kafak: unknown section; did you mean kafka?",
        "1: unknown section; known are node, cluster, kafka, http, replication, journal,"
        " storage, topic, group, logging",
        "http: expected a mapping of fields, found 8080",
        "TRIMARAN_KAKFA_PORT: unknown field; did you mean TRIMARAN_KAFKA_PORT?",
        "node.id: expected greater than or equal to 1, found 0",
        "node.data_directory: required: Where everything is stored; belongs to this node alone.",
        "node.rack: expected a valid string, found 5",
        "node.data_director: unknown field; did you mean data_directory?",
        "node[5]: unknown field; known are id, data_directory, host_label, rack",
        "cluster.id: expected pattern '^[A-Za-z0-9_-]{22}$', found 'short'",
        "cluster.nodes[0].host: required: Name or address that the other nodes connect to.",
        "cluster.nodes[0].peer_port: expected less than or equal to 65535, found 70000",
        "cluster.nodes[0].hst: unknown field; did you mean host?",
        "cluster.nodes[1]: expected a mapping of id, host, peer_port, found 'just text'",
        "kafka.port: expected a valid integer, found '9092'",
        "kafka.inflight_requests_max: expected a valid integer, found True",
        "kafka.prot: unknown field; did you mean port?",
        "kafka.advertised_host: expected a host that clients can connect to, found 0.0.0.0",
        "replication.batch_linger_ms: expected a finite number, found nan",
        "replication.election_timeout_max_ms: expected above election_timeout_min_ms, 150,"
        " found 100",
        "replication.heartbeat_ms: expected at most half of election_timeout_min_ms, 150,"
        " found 200",
        "journal.file_bytes: expected a valid integer, found 'lots'",
        'storage.tail_bytes: expected a valid integer, found "\'"',
        "topic.default_replication_factor: expected less than or equal to 7, found 9",
    ]


def test_what_fields_must_be_to_each_other_is_checked():
    text = """
node: {id: 3, data_directory: /data}
cluster:
  nodes:
    - {id: 1, host: a, peer_port: 1}
    - {id: 1, host: b, peer_port: 1}
    - {id: 2, host: a, peer_port: 1}
kafka: {advertised_host: "::"}
replication: {quorum_lost_ms: 100}
journal: {bytes_max: 100000000}
storage: {unflushed_bytes_max: 2000000}
"""

    assert problems(text) == [
        "cluster.nodes: id 1 comes twice",
        "cluster.nodes: address a:1 comes twice",
        "kafka.advertised_host: expected a host that clients can connect to, found ::",
        "replication.quorum_lost_ms: expected at least election_timeout_min_ms, 150, found 100",
        "journal.bytes_max: expected at least 3 times file_bytes, 67108864, found 100000000",
        "storage.flush_bytes: expected at most unflushed_bytes_max, 2000000, found 16777216",
    ]


def test_problem_that_rests_on_a_wrong_field_is_not_guessed():
    text = MINIMAL + "replication: {election_timeout_min_ms: 1, election_timeout_max_ms: 100}\n"

    assert problems(text) == [
        "replication.election_timeout_min_ms: expected greater than or equal to 20, found 1"
    ]


def test_node_must_be_a_member_of_its_cluster():
    assert problems(MINIMAL, TRIMARAN_NODE_ID="3") == [
        "node.id: expected one of cluster.nodes, [1, 2], found 3"
    ]
    with pytest.raises(pydantic.ValidationError, match="found 3"):
        NodeConfig(
            node=NodeSection(id=3, data_directory="/d"),
            cluster=ClusterSection(nodes=(PeerAddress(id=1, host="a", peer_port=1),)),
        )


def test_topics_cannot_have_more_replicas_by_default_than_there_are_nodes():
    assert problems(
        MINIMAL, TRIMARAN_TOPIC_DEFAULT_REPLICATION_FACTOR="3", TRIMARAN_NODE_ID="9"
    ) == [
        "node.id: expected one of cluster.nodes, [1, 2], found 9",
        "topic.default_replication_factor: expected at most 2, all of cluster.nodes, found 3",
    ]


def test_logging_is_set_by_level_and_format():
    config = load_config(MINIMAL + "logging: {level: debug}\n", {"TRIMARAN_LOGGING_FORMAT": "json"})

    assert (config.logging.level, config.logging.format) == ("debug", "json")
    assert load_config(MINIMAL, {}).logging == LoggingSection(level="info", format="console")
    assert problems(MINIMAL + "logging: {level: loud, format: 5}\n") == [
        "logging.level: expected 'debug', 'info', 'warning' or 'error', found 'loud'",
        "logging.format: expected 'console' or 'json', found 5",
    ]
    described = {each.path: each for each in describe()}
    assert described["logging.level"].bounds == "debug, info, warning or error"


def test_origins_are_allowed_by_the_file_or_the_environment():
    both = ("https://events.example", "http://10.0.0.9:8080")
    listed = load_config(MINIMAL + f"http: {{allowed_origins: {list(both)}}}\n", {})
    given = {"TRIMARAN_HTTP_ALLOWED_ORIGINS": f"[{', '.join(both)}]"}

    assert listed.http.allowed_origins == both
    assert load_config(MINIMAL, given).http.allowed_origins == both
    assert load_config(to_yaml(listed), {}) == listed


@pytest.mark.parametrize(
    "origin",
    [
        "events.example",
        "https://events.example/",
        "ftp://events.example",
        "https://",
        "*",
        "http://a:b",
    ],
)
def test_what_is_no_origin_cannot_be_allowed(origin):
    assert problems(MINIMAL + f"http: {{allowed_origins: ['{origin}']}}\n") == [
        "http.allowed_origins: expected http://HOST[:PORT] or https://HOST[:PORT],"
        f" found {origin!r}"
    ]


def test_limits_of_all_clients_together_are_set():
    text = MINIMAL + "kafka: {connections_max_per_address: 20, node_inflight_bytes_max: 1048576}\n"

    kafka = load_config(text, {}).kafka

    assert kafka.connections_max_per_address == 20
    assert kafka.node_inflight_bytes_max == 1_048_576


def test_cluster_without_nodes_is_refused():
    found = problems("node: {id: 1, data_directory: /d}\ncluster: {nodes: []}")

    assert found == ["cluster.nodes: expected at least 1 item after validation, not 0, found []"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("node: [", "file: not YAML: while parsing"),
        ("node: {id: 1}\nnode: {id: 2}", "file: not YAML: a key comes twice in this mapping"),
        ("? [a]\n: b", "file: not YAML: while constructing a mapping"),
        ("a: 2026-13-41", "file: not YAML: month must be in 1..12"),
        ("[" * 10_000, "file: not YAML: maximum recursion depth"),
        ("!!python/name:os.system", "file: not YAML: could not determine a constructor"),
        ("- 1", "file: expected a mapping of sections, found [1]"),
        ("x" * 200, "file: expected a mapping of sections, found '" + "x" * 99 + "..."),
        ("#" * (CONFIG_CHARACTERS_MAX + 1), "file: expected at most 1048576 characters"),
    ],
)
def test_text_that_is_no_configuration_is_refused_with_the_reason(text, found):
    first, *rest = problems(text)

    assert first.startswith(found)
    assert [line.split(": ")[0] for line in rest] == [
        "node.id",
        "node.data_directory",
        "cluster.nodes",
    ]


@given(st.text(max_size=60), st.dictionaries(st.sampled_from("ab"), st.text(max_size=9)))
def test_any_text_is_a_configuration_or_a_list_of_problems(text, values):
    environment = {f"TRIMARAN_KAFKA_PORT{name}": value for name, value in values.items()}
    for whole in (text, MINIMAL + text):
        try:
            config = load_config(whole, environment)
        except ConfigError:
            continue
        assert load_config(to_yaml(config), {}) == config


@pytest.mark.parametrize(
    ("nodes", "configured", "expected"), [(1, None, 1), (2, None, 2), (5, None, 3), (5, 5, 5)]
)
def test_replication_factor_is_three_or_all_nodes_unless_set(nodes, configured, expected):
    config = NodeConfig(
        node=NodeSection(id=1, data_directory="/d"),
        cluster=ClusterSection(
            nodes=tuple(PeerAddress(id=n + 1, host="a", peer_port=n + 1) for n in range(nodes))
        ),
        topic=TopicSection(default_replication_factor=configured),
    )

    assert config.replication_factor == expected


def test_configuration_cannot_be_changed():
    section = HttpSection()

    with pytest.raises(pydantic.ValidationError, match="frozen"):
        section.port = 1


def test_every_field_is_described_with_default_bounds_and_meaning():
    described = {each.path: each for each in describe()}

    assert all(each.doc.endswith(".") for each in described.values())
    assert all(each.default and each.bounds for each in described.values())
    assert len({each.environment for each in described.values()}) == len(described)
    port = described["kafka.port"]
    assert (port.environment, port.default, port.bounds) == (
        "TRIMARAN_KAFKA_PORT",
        "9092",
        "0 to 65535",
    )
    assert described["node.id"].default == "required"
    assert described["node.rack"].bounds == "1 to 255 characters"
    assert described["cluster.id"].bounds == "^[A-Za-z0-9_-]{22}$"
    assert described["cluster.nodes"].bounds == "1 to 32 items"
    assert described["topic.auto_create_topics"].bounds == "true or false"
    assert described["topic.default_replication_factor"].bounds == "1 to 7"
