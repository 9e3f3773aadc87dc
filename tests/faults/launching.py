"""What the kill tests share: the launcher's other end, tiny runs of every model, and what must hold
afterwards.
"""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from replicate.models import REGISTRY
from replicate.storage.files import is_part_of, read_json

ROOT = Path(__file__).parents[2]
MACHINE = {"particles": 4, "chains": 5, "burn_in": 2, "thinning": 1}
CHAIN = {"chains": 5, "burn_in": 2, "thinning": 1}
GAME = {"noise_dimension": 3, "pieces": 2, "discriminator_range": 0.1}
#: Model -> settings of a run of a blink.
TINY: dict[str, dict[str, Any]] = {
    "dbn": {"hidden": (4, 3), **MACHINE},
    "stacked_cae": {"hidden": (4, 3), "penalty": (0.1, 0.2), "learning_rate": (0.1, 0.2), **CHAIN},
    "deep_gsn": {"hidden": (5, 4), **CHAIN},
    "adversarial_nets": {"generator_hidden": (6,), "discriminator_hidden": (5,), **GAME},
    "adversarial_nets_conv": {
        "generator_hidden": 6,
        "generator_maps": (3, 3, 3),
        "generator_kernel": 4,
        "generator_stride": 2,
        "convolutions": ({"channels": 2, "kernel": 3, "pad": 1, "pool": 2, "pool_stride": 2},),
        "discriminator_hidden": (4,),
        **GAME,
    },
    "conditional_adversarial_nets": {
        "generator_units": (4, 3, 4),
        "discriminator_units": (4, 2, 3),
        "joint_pieces": 2,
        **GAME,
    },
    "rbm": {"hidden": 4, **MACHINE},
    "dbm": {"hidden": 4, "top": 3, "pretraining_epochs": 1, "epochs": 3, **MACHINE},
    "denoising_autoencoder": {"hidden": (5,), **CHAIN},
    "autoencoder": {"hidden": (5,), "code_dimension": 2, "components": 2, "rounds": 3},
    "vae": {"hidden": (5,), "code_dimension": 2},
    "gmmn": {"hidden": (5, 4), "noise_dimension": 3},
    "gmmn_autoencoder": {
        "hidden": (5,),
        "noise_dimension": 3,
        "encoder": (4, 3),
        "layer_epochs": 1,
        "joint_epochs": 1,
        "epochs": 4,
    },
    "true_distribution": {"epochs": 1},
    "k_means": {"centroids": 4},
    "k_means_weighted": {"centroids": 4},
}
MODELS = tuple(REGISTRY)


class Ended(NamedTuple):
    """How a process ended: its exit status, or minus the signal that killed it, and what it
    printed.
    """

    status: int
    out: str
    err: str


class Launcher:
    """Starts runs in processes of their own (tests/faults/launcher.py)."""

    def __init__(self, note: Path) -> None:
        self.note = note
        self._server = subprocess.Popen(
            [sys.executable, "-W", "error", str(ROOT / "tests/faults/launcher.py")],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": str(ROOT),
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
        )

    def _ask(self, what: str, order: Any) -> Any:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps([what, order]) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def start(
        self, words: list[str], at: int = 0, number: int = signal.SIGKILL, **options: Any
    ) -> int:
        """Starts a run that gets the signal `number` at point `at` (0: nowhere); its process
        number.
        """
        self.note.unlink(missing_ok=True)
        order = {"words": words, "at": at, "signal": int(number), "note": str(self.note), **options}
        return int(self._ask("start", order))

    def line(self, child: int) -> str:
        """The next line on a run's standard output."""
        return str(self._ask("line", child))

    def wait(self, child: int) -> Ended:
        """Waits until a run has ended."""
        return Ended(*self._ask("wait", child))

    def run(
        self, words: list[str], at: int = 0, number: int = signal.SIGKILL, **options: Any
    ) -> Ended:
        """Starts a run and waits for it."""
        return self.wait(self.start(words, at, number, **options))

    def point(self) -> str:
        """Where the last run got its signal; empty if it passed no such point."""
        return self.note.read_text() if self.note.exists() else ""

    def close(self) -> None:
        """Ends the launcher, and fails if it had failed."""
        self._server.communicate(timeout=60)
        assert self._server.returncode == 0


@contextmanager
def launching(folder: Path) -> Iterator[Launcher]:
    """A launcher for the tests of a module."""
    launcher = Launcher(folder / "point")
    yield launcher
    launcher.close()


class Run:
    """One training of a tiny model on digits, with a state folder of its own."""

    def __init__(
        self, folder: Path, data: Path, model: str, epochs: int = 2, batch_size: int = 600
    ) -> None:
        changes = {"epochs": epochs, "batch_size": batch_size, **TINY[model]}
        self.folder, self.model, self.epochs = folder, model, int(changes["epochs"])
        self.weights, self.state = folder / "out" / "weights.safetensors", folder / "state"
        params = {
            "seeds": ["0-1"],
            "compute": {"device": "cpu"},
            "selection": {"every": 1, "samples": 20},
            "likelihood": {"validation_limit": 30, "sigmas": [0.3, 0.6]},
            "datasets": {"digits": {}},
            "models": {model: {"digits": changes}},
        }
        self.words = [
            "train",
            "--params",
            json.dumps(params),
            "--dataset",
            "digits",
            "--model",
            model,
            "--block",
            "0-1",
            "--data",
            str(data),
            "--out",
            str(self.weights),
            "--state",
            str(self.state),
            "--checkpoint-every",
            "-1",
        ]

    def rarely(self) -> list[str]:
        """The command with a checkpoint only when it is asked to stop."""
        return [*self.words[:-1], "3600"]

    def results(self) -> tuple[bytes, bytes]:
        """Weights and metrics."""
        return self.weights.read_bytes(), self.weights.with_suffix(".json").read_bytes()

    def steps_here(self) -> tuple[int, int]:
        """Steps of the whole run, and of the process that ended it."""
        record = read_json(self.weights.with_suffix(".run.json"))
        return record["steps"], record["steps_in_this_process"]

    @property
    def checkpoints(self) -> Path:
        """The checkpoint folder, once there is one."""
        (found,) = (self.state / "checkpoints").iterdir()
        return found

    def saved(self) -> list[int]:
        """The steps of the checkpoints that have a note."""
        return sorted(int(path.stem[5:]) for path in self.state.glob("checkpoints/*/step-*.json"))

    def assert_tidy(self) -> None:
        """A run that ended leaves its results, its record, its progress and its last state, and
        nothing else.
        """
        found = sorted(path.name for path in self.folder.rglob("*") if path.is_file())
        results = [
            f"digits-{self.model}-0-1.json",
            "weights.json",
            "weights.run.json",
            "weights.safetensors",
        ]
        last = f"step-{self.steps_here()[0]:012d}"
        assert found == sorted(
            [*results, f"{last}.json", f"{last}.safetensors", "run.json", "lock"]
        )


def complaints(text: str) -> list[str]:
    """The lines of standard error that are not about how far a run is."""
    return [line for line in text.splitlines() if not re.match(r"digits \w+ 0-1: epoch ", line)]


def parts_of(folder: Path) -> list[Path]:
    """Temporary files below a folder."""
    return [path for path in folder.rglob(".*.part") if is_part_of(path.name, path.name[1:-14])]
