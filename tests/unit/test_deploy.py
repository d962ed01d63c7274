"""What `deploy/` names exists: commands, modules, files, settings; and Dagster takes its configuration."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml
from dagster._core.instance.ref import InstanceRef

from tests.unit.docs_helpers import ROOT
from vfexport_core.settings import PREFIX, BucketSettings, BucketsSettings, Settings

DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


def documents(path: Path) -> list[dict]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def containers() -> list[dict]:
    pods = [
        document["spec"]["template"]["spec"]
        for path in MANIFESTS
        for document in documents(path)
        if document["kind"] in {"Deployment", "Job"}
    ]
    return [container for pod in pods for container in pod["containers"]]


def commands() -> list[list[str]]:
    """Give every command of the image, wherever it is named."""
    default = re.search(r"^CMD (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert default
    composed = [service["command"] for service in COMPOSE.values() if "command" in service]
    checks = [
        service["healthcheck"]["test"][1:]
        for service in COMPOSE.values()
        if "build" in service and "healthcheck" in service
    ]
    probes = [
        probe["exec"]["command"]
        for container in containers()
        for name, probe in container.items()
        if name.endswith("Probe") and "exec" in probe
    ]
    return [json.loads(default[1]), *composed, *checks, *(container["command"] for container in containers()), *probes]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_is_one_that_the_project_installs(command: list[str]):
    scripts = {script.name for script in entry_points(group="console_scripts")}
    assert command[0] in scripts | {"python"}
    for module in [command[place + 1] for place, word in enumerate(command) if word in {"-m", "--python-module"}]:
        assert importlib.util.find_spec(module), module
    for path in [word for word in command if word.startswith("/etc/vfexport/")]:
        assert (DEPLOY / Path(path).name).is_file()


def test_compose_and_kubernetes_run_the_same_commands():
    def of(found: list[list[str]]) -> set[str]:
        return {" ".join(command) for command in found}

    composed = [service["command"] for service in COMPOSE.values() if "command" in service]
    api = json.loads(re.findall(r"^CMD (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)[0])
    assert of([*composed, api]) == of([container["command"] for container in containers()])


def test_the_dagster_instance_differs_from_the_repository_s_only_in_its_storage():
    deployed = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    assert "postgres" in deployed.pop("storage")
    assert deployed == yaml.safe_load((ROOT / "dagster.yaml").read_text())


def test_dagster_accepts_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for line in (DEPLOY / "dagster.env.example").read_text().splitlines():
        name, _, value = line.partition("=")
        monkeypatch.setenv(name, value or "secret")
    shutil.copy(DEPLOY / "dagster.yaml", tmp_path)
    reference = InstanceRef.from_dir(str(tmp_path))
    assert reference.storage_data is not None
    assert reference.storage_data.class_name == "DagsterPostgresStorage"


def test_the_examples_name_settings_that_exist():
    buckets = {
        f"buckets__{bucket}__{field}"
        for bucket in BucketsSettings.model_fields
        for field in BucketSettings.model_fields
    }
    known = {f"{PREFIX}{name}".upper() for name in {*Settings.model_fields, *buckets}}
    lines = (DEPLOY / "vfexport.env.example").read_text().splitlines()
    named = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
    assert named
    assert named <= known


def test_no_container_may_become_root_or_write_to_its_image():
    assert containers()
    for container in containers():
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
    for name, service in COMPOSE.items():
        assert "build" not in service or service["read_only"], name


def test_kustomization_lists_every_manifest():
    listed = documents(DEPLOY / "kubernetes" / "kustomization.yaml")[0]["resources"]
    assert sorted(listed) == [path.name for path in MANIFESTS if path.name != "kustomization.yaml"]
