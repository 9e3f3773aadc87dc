"""One version of every direct dependency, wherever it is written down."""

import re
import tomllib

import yaml

from replicate.codedigest import package_root

ROOT = package_root()


def name_of(line):
    return re.sub(r"[-_.]+", "-", line.split("==")[0]).lower()


def pins(lines):
    found = {name_of(line): line.split("==")[1] for line in lines if "==" in line and not line.startswith("#")}
    assert found
    return found


def locked(file):
    return pins((ROOT / file).read_text(encoding="utf-8").splitlines())


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_runtime_pins_agree():
    direct = pins(PROJECT["dependencies"])
    environment = yaml.safe_load((ROOT / "workflow/envs/replicate.yaml").read_text(encoding="utf-8"))
    (by_pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert pins(by_pip) == direct
    lock = locked("requirements.lock")
    assert {name: lock.get(name) for name in direct} == direct


def test_the_development_pins_agree():
    lock = locked("requirements-dev.lock")
    extras = pins([line for lines in PROJECT["optional-dependencies"].values() for line in lines])
    assert {name: lock.get(name) for name in extras} == extras
    assert not set(lock) & set(locked("requirements.lock"))


def test_every_dependency_is_pinned_exactly():
    lines = PROJECT["dependencies"] + [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+|replicate\[test\]", line) for line in lines)
    assert not [line for line in locked("requirements.lock").values() if "+" in line]


def test_the_conda_environment_has_the_oldest_supported_python():
    environment = yaml.safe_load((ROOT / "workflow/envs/replicate.yaml").read_text(encoding="utf-8"))
    assert f"python={PROJECT['requires-python'].removeprefix('>=')}" in environment["dependencies"]
