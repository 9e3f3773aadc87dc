"""Where a job computes: device, threads, and the switches that make its bits repeatable."""

import ctypes
import os
import sys
from dataclasses import dataclass

import torch
from threadpoolctl import threadpool_limits

from replicate.errors import ReplicateError
from replicate.instructions import instruction_sets
from replicate.params import Compute
from replicate.training.products import check_precision, route


@dataclass(frozen=True)
class Backend:
    """The device of a job, and the facts that its run record keeps."""

    device: torch.device
    name: str
    threads: int
    products: str

    @property
    def facts(self) -> dict[str, object]:
        """What the run record says of the backend."""
        return {
            "device": self.device.type,
            "device_name": self.name,
            "threads": self.threads,
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "products": self.products,
            "instructions": instruction_sets(),
            "tf32": torch.backends.cuda.matmul.allow_tf32,
        }


def _keep_freed_memory() -> None:
    """Tells glibc to keep freed blocks for the next step instead of giving them back to the system.

    Every step allocates the same gradients again. Handed back, their pages must be mapped and zeroed anew
    each time, which is a good part of a training step (`python -m benchmarks`). Elsewhere a no-op.
    """
    m_trim_threshold, m_mmap_threshold, m_mmap_max = -1, -3, -4
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return
    libc.mallopt(m_trim_threshold, 1 << 30)
    libc.mallopt(m_mmap_threshold, 32 << 20)
    libc.mallopt(m_mmap_max, 0)


def configure(compute: Compute) -> Backend:
    """Applies `compute` to this process: threads of torch and NumPy, deterministic algorithms, full float32 products.

    TF32 keeps 10 bits of each factor, too few for differences of squared distances, so it is off for everything.

    Raises:
        ReplicateError: a GPU is asked for and this torch finds none, or bfloat16 and there is none.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is only repeatable with a fixed workspace
    torch.set_num_threads(compute.threads)
    # NumPy's BLAS would otherwise take every core of the machine, whose number its last bits depend on.
    threadpool_limits(compute.threads, user_api="blas")
    _keep_freed_memory()
    # As use_deterministic_algorithms(True), which would also load torch's compiler, and that takes over a second.
    torch.set_deterministic_debug_mode("error")
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 (a property unknown to mypy); every buffer here is written before it is read
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    available = torch.cuda.is_available()
    if compute.device == "cuda" and not available:
        raise ReplicateError(
            "compute.device is cuda, but this torch finds no GPU; install a CUDA build of torch, or set "
            "compute.device to auto or cpu."
        )
    if available and compute.device != "cpu":
        check_precision(compute.precision, "cuda")
        return Backend(torch.device("cuda"), torch.cuda.get_device_name(), compute.threads, "cublas")
    check_precision(compute.precision, "cpu")
    return Backend(torch.device("cpu"), "CPU", compute.threads, route())
