"""What Snakemake sends to Kubernetes by the project's profile. No cluster is tried: a stand-in for its API starts
the command of every pod as a process in an empty folder, which has nothing of the run but what the store has.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow.clouds.conftest import BUCKET, Store
from tests.workflow.conftest import Project

pytestmark = pytest.mark.slow

IMAGE = "registry.example.org/replicate:1"
WEIGHTS = "results/train/digits/adversarial_nets/0-1.safetensors"
#: Of a pod: its only container, as the API names these things.
Container = dict[str, Any]


class Api(ThreadingHTTPServer):
    """A stand-in for Kubernetes' API.

    Args:
        folder: of the pods' folders.
        packages: which the image would hold.
    """

    def __init__(self, folder: Path, packages: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.folder = folder
        self.packages = packages
        self.containers: list[Container] = []
        self.secrets: dict[str, str] = {}
        self.pods: dict[str, subprocess.Popen[bytes]] = {}
        # Each pod installs the store's plug-in, which is here already.
        pip = folder / "bin/pip"
        pip.parent.mkdir(parents=True)
        pip.write_text("#!/bin/sh\n")
        pip.chmod(0o755)

    def make(self, path: str, body: dict[str, Any]) -> None:
        """Makes a secret or a job."""
        if path.endswith("/secrets"):
            self.secrets |= body["data"]
        if path.endswith("/jobs"):
            (container,) = body["spec"]["template"]["spec"]["containers"]
            self.containers.append(container)
            self.start(body["metadata"]["name"], container)

    def start(self, name: str, container: Container) -> None:
        """Starts the command of a pod."""
        pod = self.folder / name
        pod.mkdir()
        bins = [self.folder / "bin", Path(sys.executable).parent, "/usr/bin", "/bin"]
        environment = {"PATH": os.pathsep.join(map(str, bins)), "PYTHONPATH": str(self.packages)}
        for variable in container["env"]:
            secret = self.secrets[variable["valueFrom"]["secretKeyRef"]["key"]]
            environment[variable["name"]] = base64.b64decode(secret).decode()
        words = [*container["command"], *container["args"]]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.pods[name] = subprocess.Popen(
                words, cwd=pod, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def status(self, name: str) -> dict[str, int]:
        """Where a job stands, in the API's words."""
        code = self.pods[name].poll()
        if code is None:
            return {"active": 1}
        return {"failed": 1} if code else {"succeeded": 1}

    def logs(self) -> str:
        """What the pods printed."""
        return "".join(path.read_text() for path in self.folder.glob("*.log"))


class Answers(BaseHTTPRequestHandler):
    """The few answers that the plug-in asks for."""

    server: Api

    def answer(self, content: object) -> None:
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def body(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length", 0))
        content: dict[str, Any] = json.loads(self.rfile.read(length) or b"{}")
        return content

    def do_POST(self) -> None:
        body = self.body()
        self.server.make(self.path, body)
        self.answer(body)

    def do_GET(self) -> None:
        if "/pods" in self.path:
            self.answer({"items": []})
        else:
            name = self.path.split("/")[-2]
            self.answer({"status": self.server.status(name)})

    def do_DELETE(self) -> None:
        self.body()
        self.answer({"status": "Success"})

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def api(tmp_path: Path, packages: Path) -> Iterator[Api]:
    with Api(tmp_path / "pods", packages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        known = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": address}}],
            "users": [{"name": "me", "user": {"token": "test"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(known), encoding="utf-8")
        yield server
        server.shutdown()
        for pod in server.pods.values():
            pod.kill()
            pod.wait()


def test_a_training_is_a_pod_that_has_its_files_from_the_store(
    fresh: Project, finished: Project, store: Store, api: Api, tmp_path: Path
) -> None:
    project = fresh.with_git()
    shutil.copy(project / "presets/smoke.yaml", project / "params.yaml")
    project.commit()
    (project / ".replicate").mkdir()
    needs = {"digits/adversarial_nets/0-1": {"mem_mb": 1500, "runtime": 20}}
    (project / ".replicate/resources.json").write_text(json.dumps(needs), encoding="utf-8")
    words = (
        *("snakemake", "training", "--profile", "profiles/kubernetes", "--retries", "0"),
        *("--container-image", IMAGE, "--default-storage-prefix", f"s3://{BUCKET}/one"),
        *("--storage-s3-endpoint-url", store.address, "--set-resources", "train:gpu=1"),
    )
    # Credentials go to the pods by these names alone.
    keys = {
        "SNAKEMAKE_STORAGE_S3_ACCESS_KEY": "test",
        "SNAKEMAKE_STORAGE_S3_SECRET_KEY": "test",
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
    }
    done = project.run(*words, **store.environment | keys)
    assert done.returncode == 0, done.stdout + done.stderr + api.logs()
    # Fetched and prepared where the command was given; the training alone was sent.
    (container,) = api.containers
    assert container["image"] == IMAGE
    assert container["resources"]["limits"]["memory"] == "1500M"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert not (project / WEIGHTS).exists()
    assert store.ask("GET", f"{BUCKET}/one/{WEIGHTS}") == (finished / WEIGHTS).read_bytes()
