"""What the documentation says about each field of the configuration.

Does not: know any field; everything is read off the table in `sections`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trimaran.config.sections import SECTIONS

ENVIRONMENT_PREFIX = "TRIMARAN_"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDescription:
    """What the documentation says about one field."""

    path: str
    environment: str
    default: str
    """"required" if there is none."""
    bounds: str
    doc: str


def variable_name(section: str, name: str) -> str:
    """Return the environment variable of a field: TRIMARAN_<SECTION>_<FIELD>."""
    return f"{ENVIRONMENT_PREFIX}{section.upper()}_{name.upper()}"


def describe() -> Iterator[FieldDescription]:
    """Yield every field in order of the sections, for the documentation."""
    for section, model in SECTIONS.items():
        schemas = model.model_json_schema()["properties"]
        for name, field in model.model_fields.items():
            yield FieldDescription(
                path=f"{section}.{name}",
                environment=variable_name(section, name),
                default="required" if field.is_required() else str(field.default),
                bounds=_bounds(schemas[name]),
                doc=field.description or "",
            )


def _bounds(schema: dict[str, Any]) -> str:
    schema = {**schema, **schema.get("anyOf", [{}])[0]}
    match schema["type"]:
        case "boolean":
            return "true or false"
        case "array":
            return f"{schema['minItems']} to {schema['maxItems']} items"
        case "string":
            if "enum" in schema:
                *choices, last = schema["enum"]
                return f"{', '.join(choices)} or {last}"
            if "pattern" in schema:
                return str(schema["pattern"])
            return f"{schema['minLength']} to {schema['maxLength']} characters"
        case _:
            return f"{schema['minimum']} to {schema['maximum']}"
