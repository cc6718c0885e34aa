"""What stands in two places agrees: stages, modules, params, paths, deps, plots, tests and README."""

import ast
import dataclasses
import importlib
import re
import sys
from pathlib import Path

import pytest
import ruamel.yaml

ROOT = Path(__file__).parent.parent
PIPELINE = ROOT / "pipeline"
DVC = ruamel.yaml.YAML(typ="safe").load(ROOT / "dvc.yaml")
PARAMS = ruamel.yaml.YAML(typ="safe").load(ROOT / "params.yaml")
STAGES = DVC["stages"]
BESIDE = [
    "drift",
    "poisoning",
    "retrain",
]  # commands outside the stages that have a section of params.yaml
MODULES = sorted(path.stem for path in PIPELINE.glob("*.py") if path.stem != "__init__")
README = (ROOT / "README.md").read_text(encoding="utf-8")

HOMES = {  # each heavy library, and who may import it
    "great_expectations": {"docs", "suites"},
    "mlflow": {"connection", "tracking", "registry", "served_model", "ask", "serve"},
    "tensorflow": {"train", "served_model"},
    "keras": {"models", "train", "wide"},
    "sklearn": {"baseline", "drift", "wide"},
    "tokenizers": {"vectorize", "train", "served_model"},
    "sentencepiece": {"vectorize"},
    "confusable_homoglyphs": {"text"},
    "datasketch": {"text"},
    "matplotlib": {"plots", "tracking"},
    "fsspec": {"address", "fetch", "landing"},
    "sqlalchemy": {"landing"},
    "fastapi": {"serve"},
    "uvicorn": {"serve"},
    "jinja2": {"alarms"},
    "optuna": {"tune"},
}


def imports(module: str) -> set[str]:
    """Every name that a module of the pipeline imports, wherever in it: `pipeline.x` and `library`."""
    found = set()
    for node in ast.walk(ast.parse((PIPELINE / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "pipeline":
            found |= {f"pipeline.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return found


def code_of(module: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """The module and all modules of the pipeline that it needs, directly or through others."""
    needed = {
        name.removeprefix("pipeline.") for name in imports(module) if name.startswith("pipeline.")
    }
    return {module}.union(*(code_of(name, seen | {module}) for name in needed - seen))


def paths(entries: list) -> list[str]:
    """The paths of a stage's deps or outs, with or without options."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def test_the_six_stages_run_in_order():
    assert list(STAGES) == ["ingest", "validate", "vectorize", "train", "evaluate", "register"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_its_module_and_says_the_same_sentence(stage):
    tree = ast.parse((PIPELINE / f"{stage}.py").read_text(encoding="utf-8"))
    assert STAGES[stage]["cmd"].startswith(f"python -m pipeline.{stage} ")
    assert ast.get_docstring(tree).splitlines()[0] == STAGES[stage]["desc"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_code_that_it_imports_and_no_other(stage):
    listed = [dep for dep in paths(STAGES[stage]["deps"]) if dep.startswith("pipeline/")]
    assert sorted(listed) == sorted(f"pipeline/{module}.py" for module in code_of(stage))


@pytest.mark.parametrize("stage", STAGES)
def test_the_paths_of_a_command_are_its_deps_and_outs(stage):
    entry = STAGES[stage]
    command = entry["cmd"].split()[3:]
    if stage == "register":  # finds the plots through dvc.yaml, which defines them
        place = command.index("dvc.yaml")
        command[place : place + 1] = ["reports/plots", "reports/profile", "reports/quarantine.csv"]
    data = [dep for dep in paths(entry["deps"]) if not dep.startswith("pipeline/")]
    made = paths(entry.get("outs", [])) + paths(entry.get("metrics", []))
    assert sorted(command) == sorted(data + made)


@pytest.mark.parametrize("stage", STAGES)
def test_data_comes_before_code_among_the_deps(stage):
    is_code = [dep.startswith("pipeline/") for dep in paths(STAGES[stage]["deps"])]
    assert is_code == sorted(is_code)


def test_what_is_small_is_in_git_and_what_is_large_is_not():
    for entry in STAGES.values():
        for out in entry.get("outs", []) + entry.get("metrics", []):
            path = paths([out])[0]
            assert path.startswith("reports/") == (
                not isinstance(out, str) and out[path]["cache"] is False
            )


def test_each_stage_reads_what_an_earlier_one_made():
    made = {"data/sources.lock.json", "data/inbox", "data/reviewed.csv"}
    for entry in STAGES.values():
        read = {dep for dep in paths(entry["deps"]) if not dep.startswith("pipeline/")}
        assert read <= made
        made |= set(paths(entry.get("outs", []) + entry.get("metrics", [])))


def test_each_params_section_is_a_stage_or_a_question_beside_them():
    assert list(PARAMS) == [*STAGES, *BESIDE]
    for stage, entry in STAGES.items():
        assert entry["params"] == (list(STAGES) if stage == "register" else [stage])


@pytest.mark.parametrize("stage", [*STAGES, *BESIDE])
def test_the_keys_of_a_section_are_the_fields_of_its_params_in_the_same_order(stage):
    params = importlib.import_module(f"pipeline.{stage}").Params
    assert list(PARAMS[stage]) == [field.name for field in dataclasses.fields(params)]


def test_every_plot_has_a_title_axis_names_and_a_file_that_a_stage_makes():
    made = {out for entry in STAGES.values() for out in paths(entry.get("outs", []))}
    for definition in DVC["plots"]:
        for plot in definition.values():
            assert {"title", "x_label", "y_label", "template"} <= set(plot)
            assert all(file in made or str(Path(file).parent) in made for file in plot["y"])
            custom = ROOT / ".dvc" / "plots" / f"{plot['template']}.json"
            assert plot["template"] in ("simple", "confusion") or custom.exists()


@pytest.mark.parametrize("module", MODULES)
def test_each_heavy_library_stays_in_its_homes(module):
    libraries = {name.split(".")[0] for name in imports(module)}
    assert {library for library in libraries & set(HOMES) if module not in HOMES[library]} == set()


def test_the_served_model_imports_nothing_of_ours():
    assert not [name for name in imports("served_model") if name.startswith("pipeline")]


@pytest.mark.parametrize("module", ["ingest", "vectorize"])
def test_the_light_stages_load_no_heavy_library(module):
    slow = {"tensorflow", "keras", "mlflow", "great_expectations", "sklearn"}
    loaded = {name.split(".")[0] for needed in code_of(module) for name in imports(needed)}
    assert not loaded & slow


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_one_claim_and_one_test_file(module):
    claim = ast.get_docstring(ast.parse((PIPELINE / f"{module}.py").read_text(encoding="utf-8")))
    assert re.match(r"[A-Z].*[.`]$", claim.splitlines()[0]), claim
    assert (ROOT / "tests" / f"test_{module}.py").exists()


def test_every_direct_import_is_declared_in_pyproject():
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.ruff]")[0]
    package = {"sklearn": "scikit-learn", "ruamel": "ruamel.yaml"}
    for module in MODULES:
        for name in (
            {name.split(".")[0] for name in imports(module)}
            - sys.stdlib_module_names
            - {"pipeline"}
        ):
            assert f'"{package.get(name, name.replace("_", "-"))}' in declared, (
                f"{module} imports {name}"
            )


# ---- the README


def test_the_readme_names_every_stage_section_module_and_target_that_exists():
    targets = re.findall(
        r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    for target in targets:
        assert f"make {target}" in README, target
    for stage in STAGES:
        assert f"`{stage}`" in README or f"**{stage}**" in README
        assert f"pipeline/{stage}.py" in README


def test_everything_that_the_readme_names_exists():
    targets = re.findall(
        r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)", README)) <= set(targets)
    for module in re.findall(r"python -m pipeline\.(\w+)", README):
        assert module in MODULES
    for path in re.findall(r"\b(?:pipeline|tests|benchmarks)/\w+\.py", README):
        assert (ROOT / path).exists(), path
    for section, key in re.findall(r"`(\w+)\.(\w+)`", README):
        if section in PARAMS:
            assert key in PARAMS[section], f"{section}.{key}"
