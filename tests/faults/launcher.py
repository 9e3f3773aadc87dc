"""Starts many real processes of `replicate` quickly, and kills them at chosen points of their
writing.

    python tests/faults/launcher.py    (tests/faults/launching.py talks to it)

This process loads torch and the project once and forks a child for every run, which saves seconds
each time. It reads orders from standard input, one JSON object a line, and answers each with one
line. A child is a process of its own: it runs `replicate.__main__.main` and dies of real signals.
The points are made from outside, by wrapping the functions through which a run writes: nothing in
the project knows of them.
"""

import importlib
import json
import os
import pathlib
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

import torch

from replicate.__main__ import main
from replicate.jobs.code_digest import code_digest
from replicate.models import REGISTRY
from replicate.params import Compute
from replicate.storage import files
from replicate.training.backend import configure
from replicate.training.sweep import Sweep

#: Functions of `os` that change what is on disk, and which side of the call is a point: both, or
#: only the one before.
AROUND, BEFORE = ("replace", "unlink", "rmdir", "pwrite"), ("fsync", "mkdir")


class Points:
    """Counts the points of a run; at number `at` it notes the point's name and sends this process
    `number`.

    Args:
        at: counted from 1; 0 for none.
        number: SIGKILL ends the process there; after another signal it goes on as its handlers say.
        note: where the name of the point goes.
    """

    def __init__(self, at: int, number: int, note: str) -> None:
        self.at, self.number, self.note = at, number, note
        self.count = 0

    def here(self, name: str) -> None:
        """A point that every run passes."""
        self.count += 1
        if self.count == self.at:
            self._strike(name)

    def inside(self, name: str, half: Callable[[], None]) -> None:
        """A point in the middle of a write, which `half` undoes by half."""
        self.count += 1
        if self.count == self.at:
            if self.number == signal.SIGKILL:
                half()
            self._strike(name)

    def _strike(self, name: str) -> None:
        descriptor = os.open(self.note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(descriptor, name.encode())
        os.close(descriptor)
        os.kill(os.getpid(), self.number)


def _watch_os(points: Points, name: str) -> None:
    real = getattr(os, name)

    def watched(*words: Any, **options: Any) -> Any:
        path = "" if isinstance(words[0], int) else os.fspath(words[0])
        where = f"{name} {os.path.basename(path)}"  # noqa: PTH119
        points.here(f"before {where}")
        answer = real(*words, **options)
        if name in AROUND:
            points.here(f"after {where}")
        return answer

    setattr(os, name, watched)


def _watch_writes(points: Points) -> None:
    """Before, in the middle of and after every write of tensors or text to a temporary file."""
    dump, text = files.dump_tensors, pathlib.Path.write_text

    def around(path: pathlib.Path, write: Callable[[], Any]) -> Any:
        points.here(f"before write {path.name}")
        answer = write()
        points.inside(
            f"inside write {path.name}", lambda: os.truncate(path, path.stat().st_size // 2)
        )
        points.here(f"after write {path.name}")
        return answer

    def dumped(path: pathlib.Path, *words: Any) -> None:
        around(path, lambda: dump(path, *words))

    def written(path: pathlib.Path, *words: Any, **options: Any) -> Any:
        return around(path, lambda: text(path, *words, **options))

    files.dump_tensors = dumped
    importlib.import_module("replicate.stages.train").dump_tensors = dumped  # type: ignore[attr-defined]
    setattr(pathlib.Path, "write_text", written)  # noqa: B010 (mypy refuses to assign a method)


def _slow_down(step: int, seconds: float) -> None:
    """Makes the step of that number take so many seconds, so that signals find the run in the
    middle of it.
    """
    real = Sweep._train_step

    def slow(self: Sweep, chosen: torch.Tensor, epoch: int) -> None:
        if self.step == step:
            os.write(1, b"in the slow step\n")
            time.sleep(seconds)
        real(self, chosen, epoch)

    setattr(Sweep, "_train_step", slow)  # noqa: B010 (mypy refuses to assign a method)


def _child(order: dict[str, Any], out: int, err: int) -> NoReturn:
    """Runs the command of an order in this process, which it ends."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    torch.set_num_threads(1)
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored where the tests run in a shell's background
    if order.get("file_size") is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_size"], resource.RLIM_INFINITY))
    if order.get("slow_step") is not None:
        _slow_down(*order["slow_step"])
    if order.get("at"):
        points = Points(order["at"], order["signal"], order["note"])
        for name in (*AROUND, *BEFORE):
            _watch_os(points, name)
        _watch_writes(points)
    status = 1
    try:
        status = main(order["words"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class Children:
    """The children that run, by process number, with what they print."""

    def __init__(self) -> None:
        self.pipes: dict[int, tuple[TextIO, TextIO]] = {}

    def start(self, order: dict[str, Any]) -> int:
        """Forks a child for an order; its process number."""
        ends = [os.pipe(), os.pipe()]
        child = os.fork()
        if not child:
            _child(order, ends[0][1], ends[1][1])
        for _, write in ends:
            os.close(write)
        self.pipes[child] = (os.fdopen(ends[0][0]), os.fdopen(ends[1][0]))
        return child

    def line(self, child: int) -> str:
        """The next line that a child prints to standard output."""
        return self.pipes[child][0].readline()

    def wait(self, child: int) -> tuple[int, str, str]:
        """Exit status (minus the signal that killed it) of a child, and the rest of what it
        printed.
        """
        out, err = self.pipes.pop(child)
        with out, err:
            printed = out.read(), err.read()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), *printed


def serve() -> None:
    """Obeys until standard input ends."""
    for name in REGISTRY:
        importlib.import_module(REGISTRY[name][1])
        code_digest(
            ["replicate.stages.train", REGISTRY[name][1]]
        )  # kept in memory, also for the children
    importlib.import_module("replicate.stages.train")
    configure(Compute(device="cpu"))  # which makes torch import much more
    children = Children()
    for line in sys.stdin:
        what, order = json.loads(line)
        print(json.dumps(getattr(children, what)(order)), flush=True)


if __name__ == "__main__":
    serve()
