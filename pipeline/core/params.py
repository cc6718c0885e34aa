"""Reads `params.yaml` and checks each section against its class."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import pydantic
import ruamel.yaml
import ruamel.yaml.error

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_bytes

ParamsT = TypeVar("ParamsT")

PARAMS_FILE = Path("params.yaml")
DVC_FILE = Path("dvc.yaml")


# ---- params


class ParamsSection(pydantic.BaseModel):
    """Base class of a section of `params.yaml`, or of a part of one.

    A field says its range and its meaning once: `units: int = Field(ge=1, description="...")`.
    Unknown, missing and mistyped keys are refused.
    """

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False
    )


def read_yaml(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """All of a params file, as nested dicts. Raises: PipelineError."""
    content = read_bytes(
        path, f"run in the project's root, or `git checkout {path}` brings it back"
    )
    try:
        loaded = ruamel.yaml.YAML(typ="safe").load(content.decode("utf-8-sig"))
    except ruamel.yaml.error.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise PipelineError(f"{path}: {line}not YAML: {error.problem}; mend the line") from error
    except (
        ruamel.yaml.error.YAMLError,
        ValueError,
    ) as error:  # no text; a day or a number that is none
        raise PipelineError(
            f"{path}: not YAML: {' '.join(str(error).split())}; mend the file"
        ) from error
    if not isinstance(loaded, dict):
        raise PipelineError(f"{path}: holds no sections; `git checkout {path}` brings them back")
    return loaded


def read_params(params: type[ParamsT], section: str, path: Path = PARAMS_FILE) -> ParamsT:
    """A stage's own section, checked against its dataclass. Raises: PipelineError, one line a key."""
    sections = read_yaml(path)
    if section not in sections:
        raise PipelineError(
            f"{path}: {section}: missing; choose from {', '.join(map(str, sections))}"
        )
    return parse_params(params, sections[section], f"{path}: {section}")


def parse_params(params: type[ParamsT], value: object, place: str) -> ParamsT:
    """`value` as the class `params`, a `ParamsSection` or a dataclass.

    Raises: PipelineError, one line a key, for unknown, missing and mistyped keys.
    """
    strict: type = params
    if not issubclass(params, pydantic.BaseModel):
        rules: Any = {"extra": "forbid", "strict": True, "allow_inf_nan": False}
        strict = pydantic.dataclasses.dataclass(params, frozen=True, config=rules)
    try:  # as JSON, where a strict dataclass takes a mapping and a strict tuple takes a list
        return cast(
            ParamsT, pydantic.TypeAdapter(strict).validate_json(json.dumps(value, default=str))
        )
    except pydantic.ValidationError as error:
        raise PipelineError("\nerror: ".join(_problem(e, place) for e in error.errors())) from None
    except (TypeError, ValueError) as error:  # a date for a key, a list that holds itself
        raise PipelineError(f"{place}: {error}; remove it") from error


def _problem(error: Any, place: str) -> str:
    where = ".".join([place, *map(str, error["loc"])])
    match error["type"]:
        case "missing":
            return f"{where}: missing"
        case "unexpected_keyword_argument" | "extra_forbidden":
            return f"{where}: unknown key; remove it or mend its spelling"
        case "value_error":
            return f"{where}: {error['ctx']['error']}"
        case _:
            return (
                f"{where}: {error['msg'][0].lower()}{error['msg'][1:]}, not {error['input']!r:.80}"
            )


def choose(registry: Mapping[str, ParamsT], name: str, place: str) -> ParamsT:
    """The registry's entry, or one line with the choices. Raises: PipelineError."""
    if name not in registry:
        raise PipelineError(
            f"{place}: unknown {name!r}; choose from {', '.join(registry) or 'nothing'}"
        )
    return registry[name]
