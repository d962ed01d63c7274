"""What `deploy/` names exists and is in the form that those who read it expect; tests/deploy starts it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import kubernetes_validate
import psycopg2.extensions
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster_postgres.utils import pg_url_from_config
from sqlalchemy.engine import make_url

from tests.deploy.processes import (
    DEPLOY,
    MANIFESTS,
    composed,
    default_command,
    dockerfile,
    documents,
    in_compose,
    in_kubernetes,
    manifests,
    names_in,
    pods,
)
from tests.unit.docs_helpers import ROOT
from vfexport_core.settings import PREFIX, BucketSettings, BucketsSettings, Settings

if TYPE_CHECKING:
    from tests.deploy.processes import Document

# The oldest that a provider still sells, one in between, the newest that the schemas are there for.
INSTANCE = MANIFESTS / "instance" / "dagster.yaml"
KUBERNETES = ("1.30", "1.33", "1.37")
LISTED = "kustomization.yaml"
PROGRAMS = Path(sys.executable).parent


def commands() -> list[list[str]]:
    """Return every command of the image, wherever it is named."""
    processes = [*in_kubernetes(), *in_compose()]
    checks = [check["exec"]["command"] for process in processes for check in process.checks.values() if "exec" in check]
    return [default_command(), *(process.command for process in processes), *checks]


def of_kind(*kinds: str) -> dict[str, Document]:
    return {document["metadata"]["name"]: document for document in manifests() if document["kind"] in kinds}


def containers() -> list[Document]:
    return [container for pod in pods().values() for container in [*pod.get("initContainers", []), *pod["containers"]]]


def pins(lock: Path) -> dict[str, set[str]]:
    """Return the hashes of what a lock pins, by name and version."""
    lines = lock.read_text().replace("\\\n", " ").splitlines()
    return {
        re.split(r" ;| --hash", line)[0].strip(): set(re.findall(r"--hash=sha256:[0-9a-f]{64}", line)) for line in lines
    }


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_is_one_that_the_project_installs(command: list[str]):
    scripts = {script.name for script in entry_points(group="console_scripts")}
    assert command[0] in scripts | {"python"}
    for module in [command[place + 1] for place, word in enumerate(command) if word in {"-m", "--module-name"}]:
        assert importlib.util.find_spec(module), module
    for path in [word for word in command if word.startswith("/etc/vfexport/")]:
        assert (DEPLOY / Path(path).name).is_file()


def test_compose_and_kubernetes_run_the_same_commands():
    in_cluster, on_one_machine = (
        {" ".join(process.command) for process in processes} for processes in (in_kubernetes(), in_compose())
    )
    assert in_cluster == on_one_machine
    assert " ".join(default_command()) in in_cluster


# The forms of Kubernetes, compose and Docker


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_manifests_have_kubernetes_form(version: str):
    checked = [document for document in manifests() if "kustomize" not in document["apiVersion"]]
    assert checked
    for document in checked:
        kubernetes_validate.validate(document, version, strict=True)


def test_the_example_of_a_proxy_before_the_ui_is_the_one_that_the_web_server_lets_in():
    found = {document["kind"]: document for document in documents(MANIFESTS / "examples" / "ui-proxy.yaml")}
    for document in found.values():
        kubernetes_validate.validate(document, KUBERNETES[-1], strict=True)
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    (rule,) = of_kind("NetworkPolicy")["webserver"]["spec"]["ingress"]
    assert [peer["podSelector"]["matchLabels"] for peer in rule["from"]] == [labels]


def test_a_manifest_with_a_mistake_is_refused():
    (deployment,) = [document for name, document in of_kind("Deployment").items() if name == "api"]
    deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        kubernetes_validate.validate(deployment, KUBERNETES[-1], strict=True)


def test_compose_has_the_form_of_the_compose_specification():
    check = [PROGRAMS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, DEPLOY / "compose.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_hadolint_finds_nothing_in_the_dockerfile():
    done = subprocess.run(
        [PROGRAMS / "hadolint", "--no-color", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_builder_is_sent_what_the_dockerfile_copies_and_nothing_else():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {
        source
        for step in dockerfile()
        if step.word == "COPY" and "--from" not in step.rest
        for source in step.rest.split()[:-1]
    }
    assert sent == copied
    assert all((ROOT / path).exists() for path in sent)


def test_the_image_s_lock_is_a_part_of_the_whole_one():
    image, whole = (pins(folder / "requirements.lock") for folder in (DEPLOY, ROOT))
    assert image.items() <= whole.items()
    assert all(whole.values())
    names = {re.split(r"\[|==", pin)[0] for pin in image}
    assert {"dagster-postgres", "psycopg2-binary"} <= names
    assert not {"moto", "secantusdb", "pytest"} & names


def test_kustomization_lists_every_manifest():
    for folder in (MANIFESTS, MANIFESTS / "monitoring"):
        listed = documents(folder / LISTED)[0]["resources"]
        assert sorted(listed) == sorted(path.name for path in folder.glob("*.yaml") if path.name != LISTED)


# Dagster's and the service's settings


def test_the_dagster_instance_differs_from_the_repository_s_only_in_its_storage():
    deployed = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    assert "postgres" in deployed.pop("storage")
    assert deployed == yaml.safe_load((ROOT / "dagster.yaml").read_text())


def test_the_dagster_instance_of_a_cluster_differs_only_in_its_launcher():
    in_cluster = yaml.safe_load(INSTANCE.read_text())
    launcher = in_cluster.pop("run_launcher")
    in_cluster["run_monitoring"].pop("start_timeout_seconds")
    on_one_machine = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    on_one_machine["run_monitoring"].pop("start_timeout_seconds")
    assert in_cluster == on_one_machine
    assert (launcher["module"], launcher["class"]) == ("dagster_k8s", "K8sRunLauncher")
    config = launcher["config"]
    kustomization = documents(MANIFESTS / LISTED)[0]
    assert config["job_namespace"] == kustomization["namespace"]
    assert config["service_account_name"] in of_kind("ServiceAccount")
    (config_map,) = kustomization["configMapGenerator"]
    assert config["instance_config_map"] == config_map["name"]
    assert [MANIFESTS / file for file in config_map["files"]] == [INSTANCE]


@pytest.mark.parametrize(
    ("configuration", "launcher"),
    [(DEPLOY / "dagster.yaml", "DefaultRunLauncher"), (INSTANCE, "K8sRunLauncher")],
    ids=["one machine", "cluster"],
)
def test_dagster_accepts_its_configuration(
    configuration: Path, launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in names_in("dagster"):
        monkeypatch.setenv(name, "5432" if name.endswith("_PORT") else "secret")
    shutil.copy(configuration, tmp_path)
    reference = InstanceRef.from_dir(str(tmp_path))
    assert reference.storage_data is not None
    assert reference.storage_data.class_name == "DagsterPostgresStorage"
    assert reference.run_launcher_data.class_name == launcher


def test_the_storage_gives_up_a_server_that_is_gone_without_a_word():
    """PostgreSQL's library, which refuses what it does not know, is handed what the file says."""
    storage = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())["storage"]["postgres"]["postgres_db"]
    named = {key: "5432" if "env" in value else value for key, value in storage.items()}
    url = make_url(pg_url_from_config({"postgres_db": named}))
    _, handed = url.get_dialect()().create_connect_args(url)
    given = psycopg2.extensions.parse_dsn(psycopg2.extensions.make_dsn(**handed))
    assert int(given["keepalives_idle"]) + int(given["keepalives_interval"]) * int(given["keepalives_count"]) <= 30
    assert int(given["tcp_user_timeout"]) <= 30_000
    assert int(given["connect_timeout"]) <= 10


def test_the_examples_name_settings_that_exist():
    buckets = {
        f"buckets__{bucket}__{field}"
        for bucket in BucketsSettings.model_fields
        for field in BucketSettings.model_fields
    }
    known = {f"{PREFIX}{name}".upper() for name in {*Settings.model_fields, *buckets}}
    named = set(names_in("vfexport"))
    assert named
    assert named <= known


def test_on_one_machine_a_run_is_given_the_time_to_end():
    longest = Settings.model_fields["timeout_millis"].default / 1_000
    minutes = re.fullmatch(r"(\d+)m", composed()["code"]["stop_grace_period"])
    assert minutes is not None
    assert int(minutes[1]) * 60 > longest + 60
    unit = (DEPLOY / "systemd" / "vfexport.service").read_text()
    given, whole = (int(re.search(pattern, unit)[1]) for pattern in (r"--stop-seconds (\d+)", r"TimeoutStopSec=(\d+)"))
    assert longest + 60 < given < whole


def test_the_service_may_write_where_its_unit_says_to_put_dagster_s_configuration():
    unit = (DEPLOY / "systemd" / "vfexport.service").read_text()
    user, home = (
        re.search(rf"^{pattern}=(.+)$", unit, re.MULTILINE)[1] for pattern in ("User", "Environment=DAGSTER_HOME")
    )
    made = f"install -d -o {user} -g {user} "
    steps = re.findall(r"^#   (install .+)$", unit, re.MULTILINE)
    (folders,) = (step for step in steps if step.startswith(made))
    (put,) = (step for step in steps if f" {home}/" in step)
    assert home in folders.removeprefix(made).partition("#")[0].split()
    assert steps.index(folders) < steps.index(put)
    assert "-D" not in put.split()


# What every pod has to have


def test_no_container_may_become_root_or_write_to_its_image():
    assert containers()
    for container in containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    for pod in pods().values():
        assert pod["securityContext"]["runAsNonRoot"]
    for name, service in composed().items():
        assert "build" not in service or service["read_only"], name


def test_every_pod_has_an_account_of_its_own_and_a_token_only_where_it_has_to_do_with_jobs():
    accounts = of_kind("ServiceAccount")
    assert {*pods(), "run"} == accounts.keys()
    for name, pod in pods().items():
        assert pod["serviceAccountName"] == name
        speaks = name in {"daemon", "webserver"}
        assert pod["automountServiceAccountToken"] is accounts[name]["automountServiceAccountToken"] is speaks
    assert not accounts["run"]["automountServiceAccountToken"]
    (binding,) = of_kind("RoleBinding").values()
    assert {subject["name"] for subject in binding["subjects"]} == {"daemon", "webserver"}


def test_every_container_says_what_it_needs_and_may_not_fill_the_memory_or_the_disk_of_its_machine():
    for container in containers():
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
    for name, pod in pods().items():
        for volume in pod["volumes"]:
            assert "configMap" in volume or "sizeLimit" in volume["emptyDir"], name


def test_every_process_that_stays_is_watched_from_its_start_on():
    for process in in_kubernetes():
        if not process.comes_first:
            assert {"startupProbe", "livenessProbe"} <= process.checks.keys(), process.name
    assert all(process.checks or process.comes_first for process in in_compose())


def test_what_needs_the_indexes_comes_after_init():
    first = {process.name: process for process in in_kubernetes() if process.comes_first}
    needing = {process.name for process in in_kubernetes() if "vfexport" in process.secrets} - first.keys()
    assert {name.partition("/")[0] for name in needing} == {name.partition("/")[0] for name in first}
    for process in first.values():
        assert process.command[:2] == ["vfexport", "init"]


def test_grpc_and_graphql_take_no_strangers():
    policies = {name: policy["spec"] for name, policy in of_kind("NetworkPolicy").items()}
    assert policies["closed"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    callers = {
        name: [
            peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
            for rule in policies[name].get("ingress", [])
            for peer in rule["from"]
            if rule["ports"] != [{"protocol": "TCP", "port": 9400}]  # figures, for whoever asks
        ]
        for name in ("code", "daemon", "webserver")
    }
    assert callers == {"code": ["daemon", "webserver"], "daemon": [], "webserver": ["ui-proxy"]}
    for name in pods():
        assert policies[name]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": name}
