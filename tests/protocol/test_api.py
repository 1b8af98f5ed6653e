"""The table of APIs agrees with itself, with kio, and with the documents."""

from pathlib import Path

import pytest
from kio.index import load_request_schema, load_response_schema

from trimaran.protocol import messages
from trimaran.protocol.api import APIS, ApiKey, api_name, markdown_table

DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"
BEGIN = "<!-- kafka-api-table: begin; made by trimaran.protocol.api.markdown_table -->\n"
END = "<!-- kafka-api-table: end -->\n"


def test_every_key_has_one_row_in_ascending_order() -> None:
    assert list(APIS) == sorted(ApiKey)


@pytest.mark.parametrize("api", APIS.values(), ids=lambda api: api.name)
def test_a_row_agrees_with_kafkas_definitions(api: object) -> None:
    assert api.min_version <= api.lowest <= api.max_version
    for version in range(api.lowest, api.max_version + 1):
        assert load_request_schema(api.key, version).__flexible__ == (version >= api.flexible_from)
    assert load_request_schema(api.key, api.lowest).__name__ == f"{api.name}Request"
    assert load_response_schema(api.key, api.lowest).__name__ == f"{api.name}Response"
    assert hasattr(messages, f"{api.name}Request")
    assert hasattr(messages, f"{api.name}Response")


def test_produce_is_advertised_below_what_is_accepted() -> None:
    produce = APIS[ApiKey.PRODUCE]

    assert produce.min_version == 0
    assert [version for version in range(-1, 14) if produce.accepts(version)] == list(range(3, 12))


def test_apis_are_named_for_logs() -> None:
    assert api_name(18) == "ApiVersions"
    assert api_name(71) == "api 71"


def test_the_document_shows_the_table_as_it_is() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")

    shown = text.split(BEGIN)[1].split(END)[0]

    assert shown == markdown_table()
