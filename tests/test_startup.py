"""What a command loads: importing torch costs seconds, which every job that computes without it is
spared.
"""

import json
import subprocess
import sys
from pathlib import Path

from replicate.__main__ import STAGES, TOOLS
from replicate.experiments import REGISTRY
from replicate.storage.paths import package_root

#: The commands that compute with torch. Of the others `params`, `preset` and `status` load it when
#: they look at experiments or models, which are torch's.
WITH_TORCH = {
    "train", "sample", "bandwidth", "evaluate", "classifier", "recognise", "panels", "experiment", "tune", "export",
    "samplers", "score", "measures", "controls",
}  # fmt: skip
REFERENCE = package_root() / "results" / "reference"


def _run(code: str, *words: str) -> None:
    """Runs code in a process of its own, which must exit with 0."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=package_root()
    )
    assert done.returncode == 0, done.stderr


def test_help_takes_less_than_half_a_second_and_loads_no_torch() -> None:
    """Seconds of the processor, so that a busy machine does not count."""
    _run(
        "import sys, time; from replicate.__main__ import main; main(['--help'])\n"
        "if 'torch' in sys.modules or time.process_time() > 0.5: "
        "sys.exit(f'{time.process_time()} s')"
    )


def test_the_help_of_commands_that_need_no_torch_loads_none() -> None:
    """In one process after another's help: a module that torch came with stays loaded."""
    _run(
        "import contextlib, sys; from replicate.__main__ import main\n"
        "for name in sys.argv[1:]:\n"
        "    with contextlib.suppress(SystemExit): main([name, '--help'])\n"
        "    if 'torch' in sys.modules: sys.exit(f'the help of {name} loads torch')\n"
        "    if f'replicate.stages.{name}' not in sys.modules: sys.exit(f'no help of {name}')",
        *sorted({*STAGES, *TOOLS} - WITH_TORCH),
    )


def test_running_them_loads_no_torch_either(tmp_path: Path) -> None:
    """From the data to the table and the statements, on the kept results; the report has a test of its
    own.
    """
    manifest, data = str(tmp_path / "m.json"), str(tmp_path / "digits.safetensors")
    statements = REFERENCE / "statements" / "seeds-0-9"
    commands = [
        ["fetch", "--dataset", "digits", "--out", manifest],
        ["prepare", "--dataset", "digits", "--manifest", manifest, "--out", data],
        [
            "table", "--params", "presets/mnist.yaml", "--out", str(tmp_path / "t.json"),
            str(REFERENCE / "mnist-1-seed" / "vae" / "evaluation.json"),
        ],
        [
            "statements", "--params", str(statements / "params.yaml"), "--out", str(tmp_path / "c.json"),
            str(statements / "degenerate.json"),
        ],
        ["verify", "--run", str(statements), "--reference", str(statements)],
        ["list"],
    ]  # fmt: skip
    _run(
        "import json, sys; from replicate.__main__ import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    if main(words) != 0 or 'torch' in sys.modules: sys.exit(f'{words[0]} failed, or "
        "loads torch')",
        json.dumps(commands),
    )


def test_drawing_an_experiment_loads_no_torch_no_statistics_of_scipy_and_no_seaborn(
    tmp_path: Path,
) -> None:
    """The stage on a kept result, and the drawing module of every experiment."""
    words = [
        "draw", "--result", str(REFERENCE / "statements" / "seeds-0-9" / "degenerate.json"), "--out", str(tmp_path),
    ]  # fmt: skip
    _run(
        "import json, sys; from replicate.__main__ import main; from replicate.experiments "
        "import load_drawing\n"
        "words, names = json.loads(sys.argv[1])\n"
        "if main(words) != 0: sys.exit('draw failed')\n"
        "for name in names: load_drawing(name)\n"
        "found = {'torch', 'scipy.stats', 'seaborn', 'pandas'} & sys.modules.keys()\n"
        "if found or any(module.startswith('replicate.training') for module in sys.modules): "
        "sys.exit(str(found))",
        json.dumps([words, list(REGISTRY)]),
    )
    assert (tmp_path / "distances.svg").exists()


def test_panels_and_the_stages_that_judge_load_neither_seaborn_nor_the_statistics_of_scipy() -> (
    None
):
    """Panels draw their curves, too: no import waits inside of those."""
    _run(
        "import importlib, sys\n"
        "for module in sys.argv[1:]: importlib.import_module(module)\n"
        "from replicate.figures import curves\n"
        "training = {'seeds': [0], 'curve': {'epoch': [1, 2], 'log_likelihood': [[1.0], [2.0]]}, "
        "'failed': {},\n"
        "            'chosen_epoch': [2], 'chosen_log_likelihood': [2.0]}\n"
        "curves.learning(training, 'title', 'name')\n"
        "found = {'scipy.stats', 'seaborn'} & sys.modules.keys()\n"
        "if found: sys.exit(f'loads {found}')",
        "replicate.stages.panels",
        "replicate.stages.statements",
        "replicate.stages.table",
    )
