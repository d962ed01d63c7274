"""The processes that `deploy/` describes, as its files have them: commands, settings, volumes, checks."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from tests.unit.docs_helpers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DEPLOY = ROOT / "deploy"
MANIFESTS = DEPLOY / "kubernetes"
Document = dict[str, Any]


@dataclass(frozen=True)
class Process:
    """One container; `checks` are its probes, by name, in the words of Kubernetes (exec, httpGet, grpc, tcpSocket)."""

    name: str
    command: list[str]
    secrets: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)
    volumes: dict[str, str | None] = field(default_factory=dict)
    """Where it may write, and the volume that others share there, if they do."""
    files: dict[str, str] = field(default_factory=dict)
    """What is put over a file of the image: the key of a ConfigMap."""
    checks: dict[str, Document] = field(default_factory=dict)
    comes_first: bool = False
    """Others start when it has ended well."""


@dataclass(frozen=True)
class Instruction:
    """One of a Dockerfile."""

    stage: str
    word: str
    rest: str


def documents(path: Path) -> list[Document]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def manifests() -> list[Document]:
    return [document for path in sorted(MANIFESTS.glob("*.yaml")) for document in documents(path)]


def pods() -> dict[str, Document]:
    """Return the pods of every workload, by its name."""
    return {
        document["metadata"]["name"]: document["spec"]["template"]["spec"]
        for document in manifests()
        if document["kind"] in {"Deployment", "Job"}
    }


def composed() -> dict[str, Document]:
    """Return compose's services, of any image."""
    return documents(DEPLOY / "compose.yaml")[0]["services"]


def in_kubernetes() -> list[Process]:
    """Return every container of every pod, those that come first before the others of their pod."""
    return [
        process_of(pod_name, pod, container, comes_first=role == "initContainers")
        for pod_name, pod in pods().items()
        for role in ("initContainers", "containers")
        for container in pod.get(role, [])
    ]


def in_compose() -> list[Process]:
    """Return every service that is made of our image."""
    services = composed()
    awaited = {
        name
        for service in services.values()
        for name, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }
    return [
        _of_service(name, service, comes_first=name in awaited)
        for name, service in services.items()
        if "build" in service
    ]


@cache
def dockerfile() -> list[Instruction]:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    found: list[Instruction] = []
    stage = ""
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            stage = rest.partition(" AS ")[2]
        found.append(Instruction(stage, word, rest.strip()))
    return found


def default_command() -> list[str]:
    """Return what the image runs when nothing else is said."""
    (command,) = [json.loads(found.rest) for found in dockerfile() if found.word == "CMD"]
    return command


def image_variables() -> dict[str, str]:
    return dict(word.split("=", 1) for found in dockerfile() if found.word == "ENV" for word in shlex.split(found.rest))


def names_in(example: str) -> list[str]:
    """Return the names of the settings in a file of examples."""
    lines = (DEPLOY / f"{example}.env.example").read_text().splitlines()
    return [line.partition("=")[0] for line in lines if line and not line.startswith("#")]


def process_of(name: str, pod: Document, container: Document, *, comes_first: bool = False) -> Process:
    """Return a container of a pod; one without a command runs its arguments, since the image has no entry point."""
    mounts = {mount["mountPath"]: mount for mount in container.get("volumeMounts", [])}
    mapped = {volume["name"] for volume in pod.get("volumes", []) if "configMap" in volume}
    return Process(
        name=f"{name}/{container['name']}",
        command=container.get("command") or container["args"],
        secrets=tuple(source["secretRef"]["name"] for source in container["envFrom"]),
        variables={variable["name"]: variable["value"] for variable in container.get("env", [])},
        volumes={path: None for path, mount in mounts.items() if mount["name"] not in mapped},
        files={path: mount["subPath"] for path, mount in mounts.items() if mount["name"] in mapped},
        checks={name: _with_port(probe, container) for name, probe in container.items() if name.endswith("Probe")},
        comes_first=comes_first,
    )


def _with_port(probe: Document, container: Document) -> Document:
    """Return a probe with the number of its port in place of the port's name."""
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    return {
        name: part | {"port": ports.get(part["port"], part["port"])}
        if isinstance(part, dict) and "port" in part
        else part
        for name, part in probe.items()
    }


def _of_service(name: str, service: Document, *, comes_first: bool) -> Process:
    named = dict(reversed(volume.split(":")) for volume in service.get("volumes", []))
    check = service.get("healthcheck")
    return Process(
        name=name,
        command=service.get("command", default_command()),
        secrets=tuple(file.removesuffix(".env") for file in service["env_file"]),
        variables=service.get("environment", {}),
        volumes=dict.fromkeys(service["tmpfs"]) | named,
        checks={"healthcheck": {"exec": {"command": check["test"][1:]}}} if check else {},
        comes_first=comes_first,
    )
