"""As much of a cluster's API as Dagster's launcher speaks to: a Job that is posted is started here, as a kubelet would.

The container's command, settings, volumes and user are those of the Job; its form is held against Kubernetes' schema.
"""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import kubernetes_validate
import psutil
import yaml

from tests.deploy.processes import MANIFESTS, process_of
from tests.http_server import serving
from vfexport_core.embedded.process import HOST

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.deploy.machine import Machine
    from tests.deploy.processes import Document, Process

VERSION = "1.33"
NAMESPACE = "vfexport"
INSTANCE = MANIFESTS / "instance" / "dagster.yaml"
_JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
_PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


@dataclass
class Job:
    """A Job that was posted, and its only process."""

    manifest: Document
    process: Process
    pid: int

    @property
    def run_id(self) -> str:
        return self.manifest["metadata"]["labels"]["dagster/run-id"]

    @property
    def is_active(self) -> bool:
        try:
            return psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class Cluster(ThreadingHTTPServer):
    """Takes Jobs, starts them on `machine`, tells how they are, and ends them when they are deleted."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Handler)
        self.machine: Machine | None = None
        self.jobs: dict[str, Job] = {}
        self.running = ExitStack()

    def configuration(self, folder: Path) -> Path:
        """Write the instance's configuration as the ConfigMap has it, but for where the cluster is."""
        address = {"server": f"http://{HOST}:{self.server_port}"}
        login = {
            "clusters": [{"name": "here", "cluster": address}],
            "users": [{"name": "daemon", "user": {"token": "of-the-service-account"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "daemon"}}],
            "current-context": "here",
        }
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(login))
        instance = yaml.safe_load(INSTANCE.read_text())
        assert "load_incluster_config" not in instance["run_launcher"]["config"], "it is what Dagster does by itself"
        instance["run_launcher"]["config"] |= {"load_incluster_config": False, "kubeconfig_file": str(kubeconfig)}
        written = folder / "dagster.yaml"
        written.write_text(yaml.safe_dump(instance))
        return written

    def post(self, manifest: Document) -> Document:
        """Start a Job's container."""
        assert self.machine is not None
        kubernetes_validate.validate(manifest, VERSION, strict=True)
        name, pod = manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        process = process_of(name, pod, container)
        # The daemon's folder is at the same path in every container.
        homes = re.compile(rf"{re.escape(str(self.machine.folder))}/[^/\"]+/var/lib/dagster")
        process.command[:] = [homes.sub("/var/lib/dagster", word) for word in process.command]
        server = self.running.enter_context(self.machine.started(process))
        self.jobs[name] = Job(manifest, process, server.pid)
        return manifest

    def status(self, name: str) -> Document | None:
        job = self.jobs.get(name)
        if job is None:
            return None
        return job.manifest | {"status": {"active": 1} if job.is_active else {"succeeded": 1}}

    def delete(self, name: str) -> None:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(self.jobs[name].pid).terminate()


class _Handler(BaseHTTPRequestHandler):
    server: Cluster

    def do_POST(self) -> None:
        body: Document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path.startswith(_JOBS), self.path
        assert self.headers["Authorization"] == "Bearer of-the-service-account"
        self._answer(201, self.server.post(body))

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith(_PODS):
            self._answer(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []})
            return
        found = self.server.status(path.removeprefix(f"{_JOBS}/").removesuffix("/status"))
        self._answer(200 if found else 404, found or {"kind": "Status", "apiVersion": "v1", "code": 404})

    def do_DELETE(self) -> None:
        self.server.delete(urlsplit(self.path).path.removeprefix(f"{_JOBS}/"))
        self._answer(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def _answer(self, status: int, body: Document) -> None:
        sent = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: Any) -> None:
        pass


def running_cluster() -> AbstractContextManager[Cluster]:
    return serving(Cluster())
