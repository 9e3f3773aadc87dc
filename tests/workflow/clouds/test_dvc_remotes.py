"""A run that travels by a DVC remote: pushed to a store or an SSH server, and back in a clone by `make restore`."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.clouds.conftest import BUCKET, Store
from tests.workflow.conftest import Project

pytestmark = pytest.mark.slow


@pytest.fixture
def recorded(finished: Project) -> Project:
    """A finished run that DVC has recorded, and git has a commit of."""
    project = finished.with_git()
    project.good("dvc", "repro")
    return project


@pytest.fixture
def ssh_port(packages: Path, tmp_path: Path) -> Iterator[int]:
    """The port of an SSH server on loopback."""
    folder = tmp_path / "server"
    folder.mkdir()
    script = Path(__file__).with_name("sftp_server.py")
    words = [sys.executable, str(script), str(folder)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        yield int(server.stdout.readline())
        server.communicate("", timeout=20)


def travels(project: Project, clone: Project, environment: dict[str, str]) -> None:
    """The run is pushed, and current in a clone, where no job runs for it."""
    page = (project / "report/index.html").read_bytes()
    project.commit()
    project.good("dvc", "push", **environment)
    project.good("git", "clone", "--quiet", str(project.folder), str(clone.folder))
    assert not (clone / "report/index.html").exists()
    lost = clone.run("python", "tools/restore.py")
    assert lost.returncode == 1, "without the packages and the passwords there is no way to it"
    assert "DVC could not bring back every file" in lost.stderr
    said = clone.good("python", "tools/restore.py", **environment)
    assert "the results are back and current" in said
    assert (clone / "report/index.html").read_bytes() == page
    assert clone.planned() == {}


def test_by_a_store_of_objects(recorded: Project, store: Store, tmp_path: Path) -> None:
    recorded.good("dvc", "remote", "add", "--default", "store", f"s3://{BUCKET}/dvc")
    recorded.good("dvc", "remote", "modify", "store", "endpointurl", store.address)
    travels(recorded, Project(tmp_path / "clone"), store.environment)
    assert store.names("dvc/files/md5/")


def test_by_ssh(recorded: Project, packages: Path, ssh_port: int, tmp_path: Path) -> None:
    address = f"ssh://somebody@127.0.0.1:{ssh_port}/runs"
    recorded.good("dvc", "remote", "add", "--default", "server", address)
    recorded.good("dvc", "remote", "modify", "server", "password", "test")
    travels(recorded, Project(tmp_path / "clone"), {"PYTHONPATH": str(packages)})
    assert list((tmp_path / "server/runs/files/md5").iterdir())
