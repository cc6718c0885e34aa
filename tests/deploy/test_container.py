"""The container's files are valid and fit the project; they are built where Docker runs."""

import fnmatch
import re
import subprocess

import pytest
import ruamel.yaml

from pipeline.serving.http import connections, server
from tests.harness.small_project import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = [  # such as ("COPY", "pipeline pipeline")
    tuple(line.split(maxsplit=1))
    for line in DOCKERFILE.replace("\\\n", "").splitlines()
    if re.match("[A-Z]", line)
]
COMPOSE = ruamel.yaml.YAML(typ="safe").load(DEPLOY / "compose.yaml")
SERVICES = COMPOSE["services"]
SERVER_ARGUMENTS = re.findall('"([^"]*)"', dict(INSTRUCTIONS)["CMD"])[4:]  # after `pipeline serve`


def test_compose_file_fits_the_published_schema():
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, DEPLOY / "compose.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_services_name_what_exists():
    for service in SERVICES.values():
        for name, wanted in service.get("depends_on", {}).items():
            has_check = "healthcheck" in SERVICES[name]
            assert has_check == (wanted["condition"] == "service_healthy")
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
        volumes = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        assert volumes <= set(COMPOSE["volumes"])
        if "build" in service:
            assert service["build"] == {"context": "..", "dockerfile": "deploy/Dockerfile"}
        else:
            assert not service["image"].endswith(":latest")
            assert ":" in service["image"]


def test_compose_file_has_no_password_and_no_open_port():
    secrets = [
        value
        for service in SERVICES.values()
        for name, value in service.get("environment", {}).items()
        if "PASSWORD" in name or "SECRET" in name
    ]
    assert secrets
    assert all(value.startswith("${") for value in secrets)
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    ignored = (DEPLOY / ".gitignore").read_text().splitlines()
    assert ignored == [".env", COMPOSE["secrets"]["tokens"]["file"]]


def test_server_takes_the_arguments_of_the_image():
    arguments = server._parse_options(SERVER_ARGUMENTS)
    assert (arguments.host, arguments.json_logs) == ("0.0.0.0", True)
    assert arguments.allow_host == ["server"]  # its name in compose.yaml
    assert arguments.allow_host[0] in SERVICES
    assert str(arguments.tokens) == f"/run/secrets/{SERVICES['server']['secrets'][0]}"
    assert SERVICES["server"]["ports"] == [f"127.0.0.1:{arguments.port}:{arguments.port}"]
    stop_seconds = int(SERVICES["server"]["stop_grace_period"].removesuffix("s"))
    assert stop_seconds > connections.STOP_SECONDS


def test_image_runs_as_a_user_and_checks_its_health():
    last_stage = INSTRUCTIONS[[name for name, _ in INSTRUCTIONS].index("FROM", 1) :]
    names = [name for name, _ in last_stage]
    (user,) = [value for name, value in last_stage if name == "USER"]
    assert user != "root"
    assert names.index("USER") > max(i for i, name in enumerate(names) if name in ("RUN", "COPY"))
    assert "HEALTHCHECK" in names


def test_image_holds_only_files_of_the_project_that_exist():
    allowed = re.findall("^!(.+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    copied = {
        source
        for name, value in INSTRUCTIONS
        if name == "COPY" and not value.startswith("--from")
        for source in value.split()[:-1]
    }
    for source in copied - {"ledger.jsonl*"}:
        assert (ROOT / source).exists()
    for source in copied:
        assert [name for name in allowed if fnmatch.fnmatch(name, source)]


@pytest.mark.server
def test_image_is_built_where_docker_runs():
    try:
        found = subprocess.run(["docker", "info"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("docker is not installed")
    if found.returncode:
        pytest.skip(
            f"docker does not run: {(found.stderr.strip() or 'no reason').splitlines()[-1]}"
        )
    build = ["docker", "build", "--file", "deploy/Dockerfile", "--tag", "spam-filter:test", "."]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    inspect = ["docker", "image", "inspect", "--format", "{{.Config.User}}", "spam-filter:test"]
    assert subprocess.run(inspect, capture_output=True, text=True).stdout.strip() == "filter"
