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
_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class ParamsSection(pydantic.BaseModel):
    """Base class of a section of `params.yaml`, or of a part of one.

    Each field states its range and its meaning once: `units: int = Field(ge=1, description="...")`.
    Unknown, missing and mistyped keys are refused.
    """

    model_config = pydantic.ConfigDict(**_STRICT, frozen=True)


def read_yaml(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """A YAML file of named sections, as nested dicts. Raises: PipelineError."""
    restore = f"`git checkout {path}`"
    content = read_bytes(path, f"run in the project's root, or restore it with {restore}")
    try:
        loaded = ruamel.yaml.YAML(typ="safe").load(content.decode("utf-8-sig"))
    except ruamel.yaml.error.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise PipelineError(f"{path}: {line}not YAML: {error.problem}; correct the line") from error
    # not UTF-8; no such day or number; nested too deep
    except (ruamel.yaml.error.YAMLError, ValueError, RecursionError) as error:
        problem = " ".join(str(error).split())
        raise PipelineError(f"{path}: not YAML: {problem}; correct the file") from error
    if not isinstance(loaded, dict):
        raise PipelineError(f"{path}: has no sections; restore it with {restore}")
    return loaded


def read_params(params: type[ParamsT], section: str, path: Path = PARAMS_FILE) -> ParamsT:
    """One section of a params file, as its class. Raises: PipelineError, one line for each key."""
    sections = read_yaml(path)
    if section not in sections:
        choices = ", ".join(map(str, sections))
        raise PipelineError(f"{path}: {section}: missing; choose from {choices}")
    return parse_params(params, sections[section], f"{path}: {section}")


def parse_params(params: type[ParamsT], value: object, place: str) -> ParamsT:
    """`value` as the class `params`, a `ParamsSection` or a dataclass.

    Args:
        place: where the value comes from, for error messages.
    Raises: PipelineError, one line for each unknown, missing or wrong key.
    """
    strict: type = params
    if not issubclass(params, pydantic.BaseModel):
        strict = pydantic.dataclasses.dataclass(params, frozen=True, config=_STRICT)
    try:  # strict mode refuses lists for tuples, except in JSON
        as_json = json.dumps(value, default=str)
        return cast(ParamsT, pydantic.TypeAdapter(strict).validate_json(as_json))
    except pydantic.ValidationError as error:
        lines = [_error_line(item, place) for item in error.errors()]
        raise PipelineError(*lines) from None
    # a date as a key; a list that contains itself; nested too deep
    except (TypeError, ValueError, RecursionError) as error:
        raise PipelineError(f"{place}: {error}; remove it") from error


def _error_line(error: Any, place: str) -> str:
    where = ".".join([place, *map(str, error["loc"])])
    match error["type"]:
        case "missing":
            return f"{where}: missing"
        case "unexpected_keyword_argument" | "extra_forbidden":
            return f"{where}: unknown key; remove it or correct its spelling"
        case "value_error":
            return f"{where}: {error['ctx']['error']}"
        case _:
            problem = error["msg"][0].lower() + error["msg"][1:]
            return f"{where}: {problem}, not {error['input']!r:.80}"


def choose(registry: Mapping[str, ParamsT], name: str, place: str) -> ParamsT:
    """The registry's entry of this name. Raises: PipelineError, which lists the choices."""
    if name not in registry:
        choices = ", ".join(registry) or "nothing"
        raise PipelineError(f"{place}: unknown {name!r}; choose from {choices}")
    return registry[name]
