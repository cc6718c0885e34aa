"""What is stated in two places agrees: dvc.yaml, params.yaml, pyproject.toml and the code."""

import ast
import re
import subprocess
import symtable
import sys
from collections import defaultdict
from pathlib import Path

import grimp
import pydantic
import pytest

from docs import generate_reference
from pipeline.core.params import read_params, read_yaml
from pipeline.core.schemas import TRAINING_CURVES

ROOT = Path(__file__).parent.parent
PARAMS = read_yaml(ROOT / "params.yaml")
STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]
UNTRACKED = {  # packages that a stage imports and does not depend on
    "train": {"tracking"},  # it only reports to MLflow; its outputs do not depend on that
}
HOMES = {  # libraries that are slow to import or have one purpose: who may import them
    "great_expectations": "validation",
    "mlflow": "tracking models.served_model registry.parity_client registry.versions",
    "tensorflow": "models.served_model models.training models.workers",
    "keras": "models",
    "sklearn": "evaluation.curves models.baseline models.wide monitoring.drift_checks",
    "tokenizers": "preprocessing.tokenizer models",
    "sentencepiece": "preprocessing.tokenizer",
    "confusable_homoglyphs": "preprocessing.normalize",
    "datasketch": "preprocessing.near_duplicates",
    "dvc_render": "tracking.plots",
    "vl_convert": "tracking.plots",
    "fsspec": "sources",
    "selectolax": "sources.mail",
    "sqlalchemy": "sources.inbox",
    "imapclient": "sources.imap",
    "fastapi": "serving",
    "prometheus_client": "serving.http.app serving.http.server_metrics",
    "uvicorn": "serving.http.connections",
    "jinja2": "validation.html_page",
    "optuna": "models.tune",
    "pyspark": "serving.spark_scoring",
    "py4j": "serving.spark_scoring",
}
SLOW_IMPORTS = {"tensorflow", "keras", "mlflow", "great_expectations", "sklearn"}
REPEATED_NAMES = {  # names that may be defined in several modules
    *("log", "main", "Params", "EXAMPLE", "INPUTS"),  # each module's, stage's or command's own
    "out_of_fold_scores",  # of the network, and of the baseline
    *(
        "CLIP",
        "PAD_ID",
        "ENTITY_LEVELS",
        "HUGE_ENTITY",
        "undo_entities",
    ),  # served_model.py may import nothing of ours
}

# ---- the modules

PATHS = sorted(path.relative_to(ROOT / "pipeline") for path in ROOT.glob("pipeline/**/*.py"))
SOURCES = {  # each module's text, by its name below `pipeline`, such as `core.files` or `train`
    ".".join(path.with_suffix("").parts): (ROOT / "pipeline" / path).read_text("utf-8")
    for path in PATHS
    if path.stem != "__init__"
}
IMPORTS = grimp.build_graph("pipeline", include_external_packages=True, cache_dir=None)
LIBRARIES = {name for name in IMPORTS.modules if not name.startswith("pipeline")}


def imported_by(module: str) -> set[str]:
    """Libraries and modules of ours that a module imports, directly or through others."""
    names = IMPORTS.find_upstream_modules(f"pipeline.{module}")
    return {name.removeprefix("pipeline.") for name in names}


def docstring_of(module: str) -> str:
    return ast.get_docstring(ast.parse(SOURCES[module])) or ""


def defined_names(module: str) -> list[str]:
    """The functions, classes and constants of a module."""
    symbols = symtable.symtable(SOURCES[module], module, "exec").get_symbols()
    return [symbol.get_name() for symbol in symbols if symbol.is_assigned()]


def test_pipeline_folder_is_short():
    assert len({path.parts[0] for path in PATHS}) <= 20


def test_each_module_has_a_sentence():
    sentences = [docstring_of(module).splitlines()[0] for module in SOURCES]
    assert [one for one in sentences if not re.fullmatch(r"[A-Z`].*[.:]", one)] == []


def test_each_module_has_a_test_file():
    paths = [path for path in PATHS if path.stem != "__init__"]
    files = [path.with_name(f"test_{path.stem.strip('_')}.py") for path in paths]
    assert [file for file in files if not (ROOT / "tests" / file).exists()] == []


@pytest.mark.slow
def test_tests_take_the_registries_as_they_are():
    """Those of metrics, slices and networks, with an entry more in each."""
    tests = ["tests/evaluation", "tests/test_evaluate.py", "tests/models/test_architectures.py"]
    options = ["-p", "tests.harness.new_entries", "-m", "not slow"]
    options += ["-k", "gru or not test_architectures"]  # other tests see the other networks
    command = [sys.executable, "-m", "pytest", *options, *tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_each_name_is_defined_once():
    modules = defaultdict(list)
    for module in SOURCES:
        for name in defined_names(module):
            modules[name].append(module)
    repeated = {name: where for name, where in modules.items() if len(where) > 1}
    assert {name: repeated[name] for name in repeated.keys() - REPEATED_NAMES} == {}


@pytest.mark.parametrize("library", HOMES)
def test_library_stays_in_its_homes(library):
    homes = set(HOMES[library].split())
    names = IMPORTS.find_modules_that_directly_import(library)
    users = {name.removeprefix("pipeline.") for name in names}
    assert {user if user in homes else user.split(".")[0] for user in users} == homes


def test_served_model_imports_nothing_of_ours():
    assert imported_by("models.served_model") <= LIBRARIES


@pytest.mark.parametrize("stage", ["collect", "ingest", "vectorize"])
def test_light_stages_import_no_slow_library(stage):
    assert imported_by(stage) & SLOW_IMPORTS == set()


def test_every_imported_library_is_declared():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.")[0]
    names = {"ruamel": "ruamel.yaml", "sklearn": "scikit-learn"}  # package by other import name
    libraries = LIBRARIES - sys.stdlib_module_names
    packages = [names.get(name, name.replace("_", "-")) for name in libraries]
    assert [package for package in packages if f'"{package}' not in project] == []


# ---- dvc.yaml


def paths_of(stage: str, *keys: str) -> list[str]:
    """The paths of a stage's deps, outs or metrics, with or without options."""
    entries = [entry for key in keys for entry in STAGES[stage].get(key, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


@pytest.mark.parametrize("stage", STAGES)
def test_stage_has_the_sentence_of_its_module(stage):
    assert STAGES[stage]["cmd"].startswith(f"python -m pipeline.{stage} --")
    assert docstring_of(stage).splitlines()[0] == STAGES[stage]["desc"]


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_exactly_the_code_it_imports(stage):
    packages = {name.split(".")[0] for name in imported_by(stage) - LIBRARIES}
    packages -= {"pipeline"} | UNTRACKED.get(stage, set())  # its own module computes nothing
    code = {f"pipeline/{stage}.py", *(f"pipeline/{package}" for package in packages)}
    if STAGES[stage].get("always_changed"):
        code = set()
    deps = paths_of(stage, "deps")
    assert set(deps[len(deps) - len(code) :]) == code  # data comes first
    assert not [path for path in deps[: len(deps) - len(code)] if path.startswith("pipeline/")]


@pytest.mark.parametrize("stage", STAGES)
def test_paths_of_a_command_are_its_deps_and_outs(stage):
    paths = STAGES[stage]["cmd"].split()[4::2]  # after `python -m pipeline.STAGE`, behind options
    if stage == "register":  # it finds the tables of the plots through dvc.yaml
        paths.remove("dvc.yaml")
        paths += ["reports/plots", "reports/profile", "reports/quarantine.csv"]
    if stage == "collect":  # DVC must not look into what others write to
        paths.remove("data/inbox")
    data = [path for path in paths_of(stage, "deps") if not path.startswith("pipeline/")]
    assert sorted(paths) == sorted(data + paths_of(stage, "outs", "metrics"))


def test_reports_and_the_manifest_are_in_git_and_data_is_in_dvcs_cache():
    for stage in STAGES.values():
        for out in stage.get("outs", []) + stage.get("metrics", []):
            (path, options), *_ = {out: {}}.items() if isinstance(out, str) else out.items()
            is_report = path.startswith("reports/") or path == "data/inbox.lock.json"
            assert is_report == (options.get("cache") is False)


# ---- params.yaml and tables


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("train", "evaluate")]
LIGHT = [name for name in PARAMS if name not in ("train", "evaluate")]


@pytest.mark.parametrize("section", [*LIGHT, *SLOW])
def test_keys_of_a_section_are_the_fields_of_its_class(section):
    place = generate_reference.PARAMS.get(section, f"pipeline.{section}:Params")
    params = read_params(generate_reference.load(place), section, ROOT / "params.yaml")
    assert list(PARAMS[section]) == list(type(params).model_fields)
    check_descriptions(params)


def check_descriptions(params: pydantic.BaseModel) -> None:
    """Each field has a description."""
    for name, field in type(params).model_fields.items():
        assert field.description, f"{type(params).__name__}.{name}"
        if isinstance(value := getattr(params, name), pydantic.BaseModel):
            check_descriptions(value)


def test_stages_depend_on_their_sections():
    (collect, *stages), sections = STAGES, list(PARAMS)
    assert sections == [*stages, *generate_reference.PARAMS]
    assert STAGES[collect]["params"] == ["ingest.on_broken_file"]
    for name in stages:
        assert STAGES[name]["params"] == (stages if name == "register" else [name])


def test_training_curves_have_the_columns_of_an_epoch():
    tree = ast.parse(SOURCES["models.training"])
    (epoch,) = [node for node in tree.body if getattr(node, "name", "") == "Epoch"]
    fields = [node.target.id for node in epoch.body if isinstance(node, ast.AnnAssign)]
    assert fields == TRAINING_CURVES.names
