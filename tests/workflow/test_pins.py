"""One version of every direct dependency, wherever it is written down."""

import importlib.metadata
import itertools
import re
import tomllib

import yaml
from packaging.requirements import Requirement

from replicate.storage.paths import package_root

ROOT = package_root()


def name_of(line):
    return re.sub(r"[-_.]+", "-", line.split("==")[0]).lower()


def pins(lines):
    pinned = [
        line.removesuffix(" \\") for line in lines if "==" in line and not line.startswith("#")
    ]
    assert pinned
    return {name_of(line): line.split("==")[1] for line in pinned}


def lines_of(file):
    return (ROOT / file).read_text(encoding="utf-8").splitlines()


def locked(*files):
    return pins([line for file in files for line in lines_of(file)])


RUNTIME = ("requirements.lock", "requirements-torch.lock")


DEVELOPMENT = ("test", "dev")
CLOUD = ("s3", "ssh", "store", "kubernetes")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def conda_environment():
    text = (ROOT / "workflow/envs/replicate.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def test_the_runtime_pins_agree():
    direct = pins(PROJECT["dependencies"])
    lock = locked(*RUNTIME)
    assert {name: lock.get(name) for name in direct} == direct


def test_conda_gets_every_version_of_the_lock():
    dependencies = conda_environment()["dependencies"]
    (by_pip,) = (entry["pip"] for entry in dependencies if isinstance(entry, dict))
    assert pins(by_pip) == locked(*RUNTIME)


def test_the_development_pins_agree():
    for extras, file in ((DEVELOPMENT, "requirements-dev.lock"), (CLOUD, "requirements-cloud.txt")):
        lock = locked(file)
        lines = [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
        direct = pins(lines)
        assert {name: lock.get(name) for name in direct} == direct
        assert not set(lock) & set(locked(*RUNTIME))
    assert {*DEVELOPMENT, *CLOUD} == set(PROJECT["optional-dependencies"])


def test_every_line_has_digests_but_for_torch_whose_builds_differ():
    """One without would let pip take any file of that name, and pip refuses a list with some
    only.
    """
    for file in ("requirements.lock", "requirements-dev.lock"):
        lines = [line for line in lines_of(file) if line and not line.startswith(("#", "-r "))]
        assert all(
            re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?|[\w.-]+==[\w.]+ \\", line)
            for line in lines
        )
        following = [after for line, after in itertools.pairwise(lines) if "==" in line]
        assert len(following) == len(locked(file))
        assert all("--hash" in line for line in following)
    assert set(locked("requirements-torch.lock")) == {"torch", "torchvision"}


def test_the_lock_of_a_run_names_the_pins_of_torch_so_that_it_stands_for_both():
    pinned = [line for line in lines_of("requirements-torch.lock") if not line.startswith("#")]
    assert f"# requirements-torch.lock: {' '.join(pinned)}" in lines_of("requirements.lock")


def test_the_lock_is_complete_for_every_supported_python_and_system():
    """pip refuses what is not listed once one line has digests; a package may need another one on
    some systems only.
    """
    lock = locked(*RUNTIME)
    packages = [
        found for found in importlib.metadata.distributions() if name_of(found.name) in lock
    ]
    assert len(packages) == len(lock)
    systems = [
        ("Linux", "linux", "x86_64"),
        ("Linux", "linux", "aarch64"),
        ("Darwin", "darwin", "arm64"),
    ]
    for version, (system, platform, machine) in itertools.product(
        ("3.11", "3.12", "3.13"), systems
    ):
        here = {
            "python_version": version,
            "python_full_version": f"{version}.0",
            "platform_system": system,
            "sys_platform": platform,
            "platform_machine": machine,
            "extra": "",
        }
        needed = [Requirement(text) for package in packages for text in package.requires or ()]
        names = {
            name_of(one.name) for one in needed if one.marker is None or one.marker.evaluate(here)
        }
        builds = {
            name for name in names if name.startswith(("nvidia-", "cuda-", "triton"))
        }  # companions of torch
        assert names - builds <= set(lock)


def test_every_dependency_is_pinned_exactly():
    lines = PROJECT["dependencies"] + [
        line for lines in PROJECT["optional-dependencies"].values() for line in lines
    ]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+|replicate\[test\]", line) for line in lines)
    assert not [line for line in locked(*RUNTIME).values() if "+" in line]


def test_the_conda_environment_has_the_oldest_supported_python_and_one_channel():
    environment = conda_environment()
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert f"python={oldest}" in environment["dependencies"]
    assert environment["channels"] == ["conda-forge", "nodefaults"]


def test_every_action_of_a_pipeline_is_pinned_by_its_digest_and_every_job_has_an_end():
    """A tag can be moved to other code; a commit cannot."""
    text = (ROOT / ".github/workflows/ci.yaml").read_text(encoding="utf-8")
    uses = re.findall(r"uses: (.*)", text)
    assert uses
    assert [
        line for line in uses if not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v[\d.]+", line)
    ] == []
    jobs = yaml.safe_load(text)["jobs"]
    assert [name for name, job in jobs.items() if "timeout-minutes" not in job] == []


def test_every_make_target_that_a_pipeline_calls_is_one():
    text = (ROOT / ".github/workflows/ci.yaml").read_text(encoding="utf-8")
    called = re.findall(r"run: make ([\w ]+)", text)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"\.PHONY: (.*)", makefile)[1].split()
    assert {word for words in called for word in words.split()} <= set(targets)
