"""The Helm chart makes what `deploy/kubernetes` has, and what its values say."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.chart import CHART, TEMPLATES, defaults, paths_in, rendered, value_at
from tests.deploy.processes import MANIFESTS, documents, manifests
from tests.unit.docs_helpers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.deploy.processes import Document

KUBERNETES = ("1.30", "1.33", "1.37")
INSTANCE = MANIFESTS / "instance" / "dagster.yaml"
CHECKSUM = "checksum/instance"
SECRETS = "vfexport/secrets"
READERS_OF_THE_INSTANCE = ("code", "daemon", "webserver")
CERTIFICATES = {
    "extraVolumes": [{"name": "certificates", "secret": {"secretName": "ca"}}],
    "extraVolumeMounts": [{"name": "certificates", "mountPath": "/etc/vfexport/certificates", "readOnly": True}],
}


def key_of(document: Document) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]


def by_key(found: list[Document]) -> dict[tuple[str, str], Document]:
    keyed = {key_of(document): document for document in found}
    assert len(keyed) == len(found)
    return keyed


def containers(found: list[Document]) -> Iterator[Document]:
    for document in found:
        pod = document.get("spec", {}).get("template", {}).get("spec", {})
        yield from [*pod.get("initContainers", []), *pod.get("containers", [])]


def instance_of(found: list[Document]) -> Document:
    return yaml.safe_load(by_key(found)["ConfigMap", "dagster-instance"]["data"]["dagster.yaml"])


def as_kustomize_has_it(found: list[Document]) -> dict[tuple[str, str], Document]:
    """Take out what kustomize does by itself (the image's tag, namespaces), and what it cannot do: the checksum."""
    for container in containers(found):
        assert container.pop("imagePullPolicy") == "IfNotPresent"
        assert container["image"] == "vfexport:latest"
        container["image"] = "vfexport"
        for variable in container.get("env", []):
            variable["value"] = variable["value"].removesuffix(":latest")
    keyed = by_key(found)
    for subject in keyed["RoleBinding", "runs"]["subjects"]:
        assert subject.pop("namespace") == "vfexport"
    del keyed["ConfigMap", "dagster-instance"]
    for name in READERS_OF_THE_INSTANCE:
        annotations = keyed["Deployment", name]["spec"]["template"]["metadata"].pop("annotations")
        assert annotations.keys() == {CHECKSUM}
    return keyed


def test_by_default_it_makes_what_the_manifests_have() -> None:
    plain = by_key([document for document in manifests() if document["kind"] not in {"Namespace", "Kustomization"}])
    assert as_kustomize_has_it(rendered(defaults())) == plain
    assert instance_of(rendered(defaults())) == yaml.safe_load(INSTANCE.read_text())


def test_with_monitoring_it_makes_what_the_manifests_of_monitoring_have() -> None:
    found = by_key(rendered(defaults() | {"monitoring": {"enabled": True}}))
    for path in (MANIFESTS / "monitoring").glob("*monitor.yaml"):
        (document,) = documents(path)
        assert found[key_of(document)] == document


@pytest.mark.parametrize("version", KUBERNETES)
def test_what_it_makes_has_kubernetes_form(version: str) -> None:
    values = defaults() | CERTIFICATES | {"serviceAccounts": {name: {"a/b": "c"} for name in ("api", "code", "run")}}
    values["image"] |= {"pullSecrets": [{"name": "registry"}]}
    for document in rendered(values):
        kubernetes_validate.validate(document, version, strict=True)


def test_every_value_is_used_and_every_one_that_is_used_exists() -> None:
    used = set[str]().union(*(paths_in(template.read_text()) for template in TEMPLATES))
    values = defaults()
    for path in used:
        value_at(values, path)
    assert {
        path for path in leaves(values) if not any(path == name or path.startswith(f"{name}.") for name in used)
    } == set()


def leaves(values: Document, before: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def test_what_is_mounted_besides_is_in_every_container_and_every_run() -> None:
    found = rendered(defaults() | CERTIFICATES)
    for container in containers(found):
        assert CERTIFICATES["extraVolumeMounts"][0] in container["volumeMounts"], container["name"]
    config = instance_of(found)["run_launcher"]["config"]
    assert CERTIFICATES["extraVolumes"][0] in config["volumes"]
    assert CERTIFICATES["extraVolumeMounts"][0] in config["volume_mounts"]


def test_values_reach_what_they_are_for() -> None:
    values: dict[str, Any] = defaults()
    values["image"] |= {
        "repository": "registry.example/vfexport",
        "tag": "1.2.3",
        "pullSecrets": [{"name": "registry"}],
    }
    values["secrets"] |= {"vfexport": "settings", "dagster": "storage"}
    values["api"] |= {"replicas": 5, "workers": 3}
    values["run"]["resources"] = {"limits": {"cpu": "8", "memory": "4Gi"}}
    values["networkPolicies"]["enabled"] = False
    found = rendered(values)
    keyed = by_key(found)
    assert not [kind for kind, _ in keyed if kind == "NetworkPolicy"]
    assert keyed["Deployment", "api"]["spec"]["replicas"] == 5
    assert {container["image"] for container in containers(found)} == {"registry.example/vfexport:1.2.3"}
    named = {source["secretRef"]["name"] for container in containers(found) for source in container["envFrom"]}
    assert named == {"settings", "storage"}
    config = instance_of(found)["run_launcher"]["config"]
    assert config["env_secrets"] == ["settings", "storage"]
    assert config["resources"] == {"limits": {"cpu": "8", "memory": "4Gi"}}
    assert config["image_pull_secrets"] == [{"name": "registry"}]


def annotations(found: list[Document]) -> dict[str, Document]:
    pods = {name: one["spec"]["template"] for (kind, name), one in by_key(found).items() if kind == "Deployment"}
    return {name: pod["metadata"].get("annotations", {}) for name, pod in pods.items()}


def checksums(found: list[Document]) -> dict[str, str | None]:
    return {name: said.get(CHECKSUM) for name, said in annotations(found).items()}


def test_another_instance_makes_other_pods_of_those_that_read_it() -> None:
    values = defaults()
    before = checksums(rendered(values))
    readers = {
        document["metadata"]["name"]
        for document in rendered(values)
        if document["kind"] == "Deployment" and "dagster-instance" in str(document["spec"])
    }
    assert readers == {*READERS_OF_THE_INSTANCE}
    assert checksums(rendered(values)) == before
    values["run"]["temporaryDisk"] = "1Gi"
    after = checksums(rendered(values))
    assert {name for name in before if before[name] != after[name]} == readers


def test_another_version_of_the_secrets_makes_other_pods() -> None:
    """Whether or not they read the instance; without one nothing is said of them."""
    values = defaults()
    assert not [name for name, said in annotations(rendered(values)).items() if SECRETS in said]
    values["secrets"]["version"] = "2"
    assert {name: said[SECRETS] for name, said in annotations(rendered(values)).items()} == dict.fromkeys(
        ("api", *READERS_OF_THE_INSTANCE), "2"
    )


def test_the_chart_is_of_the_project_s_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)
