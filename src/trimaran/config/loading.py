"""A YAML text and the environment in, a configuration or the list of all that is wrong out.

One mapping for each section. Every field may also come from the environment as
TRIMARAN_<SECTION>_<FIELD>, which goes before the file; an empty value is as if it were not there;
lists are written in YAML's flow style, texts as they are. A variable that begins with the name of a
section, or is nearly that of a field, but is none, is a problem; others are not ours.
Does not: read files or the environment itself.
"""

import re
from collections.abc import Hashable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from trimaran.config.description import ENVIRONMENT_PREFIX, variable_name
from trimaran.config.section import Section
from trimaran.config.sections import (
    SECTIONS,
    ClusterSection,
    NodeConfig,
    NodeSection,
    PeerAddress,
    TopicSection,
    problems_between,
)
from trimaran.errors import ConfigError
from trimaran.ids import ClusterId

CONFIG_CHARACTERS_MAX = 1_048_576
"""Longest configuration text; what is longer is some other file."""


def load_config(text: str, environment: Mapping[str, str]) -> NodeConfig:
    """Return the configuration in the YAML `text`, overridden from `environment`.

    Args:
        text: the file's contents; may be empty if the environment says it all.
        environment: names that do not begin with TRIMARAN_ and a section are not looked at.

    Raises:
        ConfigError: names every problem at once, each with its path.
    """
    problems: list[str] = []
    fields = _sections_of(_parse_yaml(text, problems), problems)
    _override(fields, environment, problems)
    sections: dict[str, Section] = {}
    for name, model in SECTIONS.items():
        try:
            sections[name] = model.model_validate(fields[name])
        except ValidationError as error:
            problems += _section_problems(name, model, fields[name], error)
    node, cluster, topic = (sections.get(name) for name in ("node", "cluster", "topic"))
    if isinstance(node, NodeSection) and isinstance(cluster, ClusterSection):
        known = topic if isinstance(topic, TopicSection) else None
        problems += problems_between(node, cluster, known)
    if problems:
        raise ConfigError(problems)
    return NodeConfig.model_validate(sections)


def to_yaml(config: NodeConfig) -> str:
    """Return the YAML text that `load_config` makes `config` of, defaults written out."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    return text


class _Loader(yaml.SafeLoader):
    """SafeLoader that does not let a key win over the same key further up."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:  # noqa: ANN401
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            raise yaml.constructor.ConstructorError(
                None, None, "a key comes twice in this mapping", node.start_mark
            )
        return mapping


def _parse_yaml(text: str, problems: list[str]) -> object:
    if len(text) > CONFIG_CHARACTERS_MAX:
        problems.append(f"file: expected at most {CONFIG_CHARACTERS_MAX} characters")
        return None
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problems.append(f"file: not YAML: {' '.join(str(error).split())}")
        return None


def _sections_of(raw: object, problems: list[str]) -> dict[str, dict[object, object]]:
    """Return the fields of every section; one that is not in the file has none."""
    fields: dict[str, dict[object, object]] = {name: {} for name in SECTIONS}
    if raw is None:
        return fields
    if not isinstance(raw, dict):
        problems.append(f"file: expected a mapping of sections, found {_shown(raw)}")
        return fields
    for name, value in raw.items():
        if name not in fields:
            problems.append(f"{name}: unknown section{_nearest(str(name), fields)}")
        elif isinstance(value, dict):
            fields[name] = dict(value)
        elif value is not None:
            problems.append(f"{name}: expected a mapping of fields, found {_shown(value)}")
    return fields


def _override(
    fields: dict[str, dict[object, object]], environment: Mapping[str, str], problems: list[str]
) -> None:
    known = {
        variable_name(section, name): (section, name, field.annotation)
        for section, model in SECTIONS.items()
        for name, field in model.model_fields.items()
    }
    for variable in sorted(environment):
        text = environment[variable]
        if not variable.startswith(ENVIRONMENT_PREFIX) or not text:
            continue
        if variable in known:
            section, name, annotation = known[variable]
            fields[section][name] = text if _is_text(annotation) else _parsed(text)
        elif _is_meant_for_us(variable, known):
            problems.append(f"{variable}: unknown field{_nearest(variable, known)}")


def _is_meant_for_us(variable: str, known: Iterable[str]) -> bool:
    rest = variable.removeprefix(ENVIRONMENT_PREFIX)
    fields = [name.removeprefix(ENVIRONMENT_PREFIX) for name in known]
    return rest.startswith(tuple(f"{section.upper()}_" for section in SECTIONS)) or bool(
        get_close_matches(rest, fields, n=1, cutoff=0.8)
    )


def _is_text(annotation: object) -> bool:
    parts = get_args(annotation)
    if get_origin(annotation) is tuple:
        return False
    is_choice = get_origin(annotation) is Literal
    return annotation in (str, ClusterId) or is_choice or any(_is_text(part) for part in parts)


def _parsed(text: str) -> object:
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text  # validation says what it should have been


def _section_problems(
    name: str, model: type[Section], fields: dict[object, object], error: ValidationError
) -> list[str]:
    """Return all that is wrong in a section.

    A section's own check does not run while a field is wrong by itself; what it says of the other
    fields is found by leaving the wrong ones out.
    """
    found = error.errors()
    problems = [line for details in found for line in _problems(name, model, details)]
    wrong = [str(details["loc"][0]) for details in found if details["loc"]]
    if wrong:
        try:
            model.model_validate({key: fields[key] for key in fields if str(key) not in wrong})
        except ValidationError as second:
            problems += [
                line
                for details in second.errors()
                if details["type"] == "value_error"
                for line in _problems(name, model, details)
                if not any(field in line for field in wrong)
            ]
    return problems


def _problems(section: str, model: type[Section], details: ErrorDetails) -> list[str]:
    """Return pydantic's finding in our words; a section's own check gives one per line."""
    steps, fields = details["loc"], model.model_fields
    path = section + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    if len(steps) > 1:
        fields = PeerAddress.model_fields
    match details["type"]:
        case "value_error":
            return [f"{section}.{line}" for line in str(details["ctx"]["error"]).splitlines()]
        case "extra_forbidden" | "invalid_key":
            return [f"{path}: unknown field{_nearest(str(steps[-1]), fields)}"]
        case "missing":
            return [f"{path}: required: {fields[str(steps[-1])].description}"]
        case "model_type":
            expected = f"a mapping of {', '.join(PeerAddress.model_fields)}"
        case "too_short" if details["input"]:
            return []  # it is not short: its members are wrong, and named
        case _:
            expected = re.sub(r"^\w+ should (be |have |match )?", "", details["msg"])
    return [f"{path}: expected {expected}, found {_shown(details['input'])}"]


def _nearest(name: str, known: Iterable[str]) -> str:
    nearest = get_close_matches(name, known, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else f"; known are {', '.join(known)}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
