"""Requests made up from the OpenAPI document: no 5xx, and every answer as the document says."""

import json
import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from trimaran.server.http.app import encoded_document

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 8
TOPICS = ("0", "flights")
"""What made-up names are likely to be, too."""

schema = schemathesis.openapi.from_dict(json.loads(encoded_document()))
OPERATIONS = [found.ok() for found in schema.get_all_operations()]


def can_be_wrong(operation):
    raw = operation.definition.raw
    # A group's name is wrong only by its length: such names take seconds to make up.
    shapes = [row["schema"] for row in raw["parameters"] if row["name"] != "group"]
    return "requestBody" in raw or any(shape != {"type": "string"} for shape in shapes)


CASES = [(operation, GenerationMode.POSITIVE) for operation in OPERATIONS]
CASES += [
    (operation, GenerationMode.NEGATIVE) for operation in OPERATIONS if can_be_wrong(operation)
]
NAMES = [f"{operation.label} {mode.value}" for operation, mode in CASES]


@pytest.fixture(scope="module")
def filled(http_cluster):
    """The address of a node that has something to tell."""
    import urllib.request

    address = f"http://{http_cluster.http_address(1)}"
    for name in TOPICS:
        body = json.dumps({"name": name, "partitions": 2}).encode()
        request = urllib.request.Request(
            f"{address}/v1/topics", data=body, headers={"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 201
    return address


@pytest.mark.parametrize(("operation", "mode"), CASES, ids=NAMES)
def test_answers_are_as_documented(filled, operation, mode):
    @settings(
        max_examples=EXAMPLES,
        derandomize=os.environ.get("TRIMARAN_PROFILE") != "nightly",
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case):
        answer = case.call_and_validate(base_url=filled, checks=CHECKS)
        assert answer.headers["trimaran-node"]

    ask()
