"""What is stated in two places agrees: dvc.yaml, params.yaml, pyproject.toml and the code."""

import ast
import importlib
import re
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
import ruamel.yaml

from pipeline.core.params import ParamsSection
from pipeline.core.schemas import TRAINING_CURVES

ROOT = Path(__file__).parent.parent
DVC = ruamel.yaml.YAML(typ="safe").load(ROOT / "dvc.yaml")
PARAMS = ruamel.yaml.YAML(typ="safe").load(ROOT / "params.yaml")
STAGES = DVC["stages"]
PARAMS_OF_COMMANDS = {
    "drift": "pipeline.monitoring.drift",
    "poisoning": "pipeline.monitoring.poisoning",
    "retrain": "pipeline.retraining.triggers",
}
UNTRACKED = {  # packages that a stage imports and does not depend on
    "train": {"tracking"},  # it only reports to MLflow; its outputs do not depend on that
}
HOMES = {  # libraries that are slow to import or have one purpose: who may import them
    "great_expectations": "validation",
    "mlflow": "tracking models.served_model registry.parity_client registry.versions "
    "serving.server",
    "tensorflow": "models.served_model models.training",
    "keras": "models",
    "sklearn": "evaluation.curves models.baseline models.wide monitoring.drift_checks",
    "tokenizers": "preprocessing.tokenizer models",
    "sentencepiece": "preprocessing.tokenizer",
    "confusable_homoglyphs": "preprocessing.normalize",
    "datasketch": "preprocessing.near_duplicates",
    "dvc_render": "tracking.plots",
    "vl_convert": "tracking.plots",
    "fsspec": "sources",
    "sqlalchemy": "sources.inbox",
    "fastapi": "serving.server",
    "uvicorn": "serving.server",
    "jinja2": "validation.html_page",
    "optuna": "models.tune",
}
SLOW_IMPORTS = {"tensorflow", "keras", "mlflow", "great_expectations", "sklearn"}
REPEATED_NAMES = {  # names that may be defined in several modules
    *("log", "main", "Params", "EXAMPLE"),  # each module's, stage's or command's own
    *("CLIP", "PAD_ID"),  # served_model.py may import nothing of ours
}

# ---- the modules

PATHS = sorted(path.relative_to(ROOT / "pipeline") for path in ROOT.glob("pipeline/**/*.py"))
MODULES = {  # each module's tree, by its name below `pipeline`, such as `core.files` or `train`
    ".".join(path.with_suffix("").parts): ast.parse((ROOT / "pipeline" / path).read_text("utf-8"))
    for path in PATHS
    if path.stem != "__init__"
}


@cache
def imports_of(module: str) -> set[str]:
    """Modules of ours as `pipeline.core.files`, and libraries by their top-level name."""
    names = set()
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    ours = {name for name in names if name.removeprefix("pipeline.") in MODULES}
    libraries = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"pipeline"}
    return ours | libraries


def code_of(module: str) -> set[str]:
    """The module and all modules of ours that it imports, directly or through others."""
    modules = [module]
    for name in modules:  # grows meanwhile
        ours = {x.removeprefix("pipeline.") for x in imports_of(name) if x.startswith("pipeline.")}
        modules += sorted(ours - set(modules))
    return set(modules)


def defined_names(tree: ast.Module) -> set[str]:
    """The functions, classes and constants of a module."""
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {x.id for one in targets for x in ast.walk(one) if isinstance(x, ast.Name)}
    return names


def test_pipeline_folder_is_short():
    assert len({path.parts[0] for path in PATHS}) <= 20


def test_each_module_has_a_sentence():
    sentences = [ast.get_docstring(tree).splitlines()[0] for tree in MODULES.values()]
    assert [one for one in sentences if not re.fullmatch(r"[A-Z`].*[.:]", one)] == []


def test_each_module_has_a_test_file():
    paths = [path for path in PATHS if path.stem != "__init__"]
    files = [path.with_name(f"test_{path.stem.strip('_')}.py") for path in paths]
    assert [file for file in files if not (ROOT / "tests" / file).exists()] == []


def test_each_name_is_defined_once():
    modules = defaultdict(list)
    for module, tree in MODULES.items():
        for name in defined_names(tree):
            modules[name].append(module)
    repeated = {name: where for name, where in modules.items() if len(where) > 1}
    assert {name: repeated[name] for name in repeated.keys() - REPEATED_NAMES} == {}


@pytest.mark.parametrize("library", HOMES)
def test_library_stays_in_its_homes(library):
    homes = set(HOMES[library].split())
    users = {module for module in MODULES if library in imports_of(module)}
    assert {user if user in homes else user.split(".")[0] for user in users} == homes


def test_served_model_imports_nothing_of_ours():
    assert code_of("models.served_model") == {"models.served_model"}


@pytest.mark.parametrize("stage", ["ingest", "vectorize"])
def test_light_stages_import_no_slow_library(stage):
    libraries = {name for module in code_of(stage) for name in imports_of(module)}
    assert libraries & SLOW_IMPORTS == set()


def test_every_imported_library_is_declared():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.")[0]
    names = {"ruamel": "ruamel.yaml", "sklearn": "scikit-learn"}  # package by other import name
    imported = set().union(*map(imports_of, MODULES))
    libraries = {name for name in imported if not name.startswith("pipeline")}
    packages = [names.get(name, name.replace("_", "-")) for name in libraries]
    assert [package for package in packages if f'"{package}' not in project] == []


# ---- dvc.yaml


def paths_of(stage: str, *keys: str) -> list[str]:
    """The paths of a stage's deps, outs or metrics, with or without options."""
    entries = [entry for key in keys for entry in STAGES[stage].get(key, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def test_stages_run_in_order():
    assert list(STAGES) == ["ingest", "validate", "vectorize", "train", "evaluate", "register"]


@pytest.mark.parametrize("stage", STAGES)
def test_stage_has_the_sentence_of_its_module(stage):
    assert STAGES[stage]["cmd"].startswith(f"python -m pipeline.{stage} --")
    assert ast.get_docstring(MODULES[stage]).splitlines()[0] == STAGES[stage]["desc"]


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_exactly_the_code_it_imports(stage):
    packages = {module.split(".")[0] for module in code_of(stage) if "." in module}
    packages -= UNTRACKED.get(stage, set())
    code = {f"pipeline/{stage}.py", *(f"pipeline/{package}" for package in packages)}
    if STAGES[stage].get("always_changed"):
        code = set()
    deps = paths_of(stage, "deps")
    assert set(deps[len(deps) - len(code) :]) == code  # data comes first
    assert not [path for path in deps[: len(deps) - len(code)] if path.startswith("pipeline/")]


@pytest.mark.parametrize("stage", STAGES)
def test_paths_of_a_command_are_its_deps_and_outs(stage):
    options = STAGES[stage]["cmd"].split()[3:]
    assert all(option.startswith("--") for option in options[::2])
    paths = options[1::2]
    if stage == "register":  # it finds the tables of the plots through dvc.yaml
        paths.remove("dvc.yaml")
        paths += ["reports/plots", "reports/profile", "reports/quarantine.csv"]
    data = [path for path in paths_of(stage, "deps") if not path.startswith("pipeline/")]
    assert sorted(paths) == sorted(data + paths_of(stage, "outs", "metrics"))


def test_stages_read_what_earlier_ones_wrote():
    written = {"data/sources.lock.json", "data/inbox", "data/reviewed.csv"}
    for stage in STAGES:
        data = {path for path in paths_of(stage, "deps") if not path.startswith("pipeline/")}
        assert data <= written
        written |= set(paths_of(stage, "outs", "metrics"))


def test_reports_are_in_git_and_data_is_in_dvcs_cache():
    for stage in STAGES.values():
        for out in stage.get("outs", []) + stage.get("metrics", []):
            (path, options), *_ = {out: {}}.items() if isinstance(out, str) else out.items()
            assert path.startswith("reports/") == (options.get("cache") is False)


def test_plots_have_labels_a_template_and_a_stages_table():
    written = {path for stage in STAGES for path in paths_of(stage, "outs")}
    for plot in (plot for definition in DVC["plots"] for plot in definition.values()):
        assert {"title", "x_label", "y_label", "template"} <= set(plot)
        assert all({file, str(Path(file).parent)} & written for file in plot["y"])
        custom = ROOT / ".dvc" / "plots" / f"{plot['template']}.json"
        assert plot["template"] in ("simple", "confusion") or custom.exists()


# ---- params.yaml and tables


def check_section(values: dict, params: type[ParamsSection]) -> None:
    """Each key is a field, each other field has a default, and each field has a description."""
    fields = params.model_fields
    assert set(values) <= set(fields)
    assert all(name in values or not field.is_required() for name, field in fields.items())
    for name, field in fields.items():
        assert field.description, f"{params.__name__}.{name}"
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, ParamsSection):
            check_section(values[name], nested)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("train", "evaluate")]
LIGHT = [name for name in PARAMS if name not in ("train", "evaluate")]


@pytest.mark.parametrize("section", [*LIGHT, *SLOW])
def test_keys_of_a_section_are_the_fields_of_its_class(section):
    module = PARAMS_OF_COMMANDS.get(section, f"pipeline.{section}")
    params = importlib.import_module(module).Params
    assert list(PARAMS[section]) == list(params.model_fields)
    check_section(PARAMS[section], params)


def test_stages_depend_on_their_sections():
    assert list(PARAMS) == [*STAGES, *PARAMS_OF_COMMANDS]
    for name, stage in STAGES.items():
        assert stage["params"] == (list(STAGES) if name == "register" else [name])


def test_training_curves_have_the_columns_of_an_epoch():
    classes = {node.name: node for node in MODULES["models.training"].body if hasattr(node, "name")}
    fields = [node.target.id for node in classes["Epoch"].body if isinstance(node, ast.AnnAssign)]
    assert fields == TRAINING_CURVES.names
