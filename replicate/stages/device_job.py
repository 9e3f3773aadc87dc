"""How a stage opens that computes with torch: with the device that its parameters name."""

import functools
import socket
import sys

from replicate.params import Compute
from replicate.records.hardware import gpu_driver
from replicate.stages.job import StageJob
from replicate.training.backend import Backend, configure


class DeviceJob(StageJob):
    """One run of a stage on a device, whose facts stand in the run record.

    Args:
        stage: its name.
        compute: settings of the device.
        names_device: whether a log is to say which device `auto` is, as a cluster's logs are.
    """

    def __init__(self, stage: str, compute: Compute, names_device: bool = True) -> None:
        super().__init__(stage)
        self.backend: Backend = configure(compute)
        self.facts |= self.backend.facts
        if self.backend.device.type == "cuda":
            self.facts["gpu_driver"] = gpu_driver()
        if names_device and compute.device == "auto":
            _name(self.backend)


@functools.cache
def _name(backend: Backend) -> None:
    """Says, once in a process, on which device `compute.device: auto` has settled."""
    device = backend.device.type
    hardware = "" if device == "cpu" else f", {backend.name}"
    host = socket.gethostname()
    # To standard error: the other stream has the stage's one line of result.
    print(f"computes on the {device} of {host}{hardware} (compute.device: auto)", file=sys.stderr)
