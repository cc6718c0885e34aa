"""The job for Kubeflow trains with the project's own commands, in one folder."""

import ruamel.yaml

from tests.harness.small_project import ROOT, STAGES

JOB = ruamel.yaml.YAML(typ="safe").load(ROOT / "deploy" / "tfjob.yaml")
REPLICAS = JOB["spec"]["tfReplicaSpecs"]


def container(role):
    """The one container of a role, and the claims of its volumes by name."""
    pod = REPLICAS[role]["template"]["spec"]
    (found,) = pod["containers"]
    claims = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"]}
    return found, claims


def test_it_is_a_job_of_one_chief_and_workers():
    assert (JOB["apiVersion"], JOB["kind"]) == ("kubeflow.org/v1", "TFJob")
    assert REPLICAS["Chief"]["replicas"] == 1
    assert REPLICAS["Worker"]["replicas"] > 1


def test_workers_run_the_stage_that_the_chief_trains():
    chief, worker = (container(role)[0] for role in ("Chief", "Worker"))
    assert chief["command"] == ["dvc", "repro"]
    assert STAGES["train"].split()[:3] == worker["command"]
    assert {chief["name"], worker["name"]} == {"tensorflow"}  # the operator asks for it


def test_all_have_one_folder():
    folders = []
    for role in REPLICAS:
        found, claims = container(role)
        (mount,) = found["volumeMounts"]
        folders.append((claims[mount["name"]], mount["mountPath"], found["workingDir"]))
    assert folders == [folders[0]] * 2
    assert folders[0][1] == folders[0][2]
