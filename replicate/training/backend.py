"""The device, threads and switches of a job, set so that its bits are repeatable."""

import ctypes
import os
import sys
from dataclasses import dataclass

import torch
from threadpoolctl import threadpool_limits

from replicate.errors import ReplicateError
from replicate.params import Compute
from replicate.records.instructions import instruction_sets
from replicate.training.gpu_lease import lease_card
from replicate.training.products import check_precision, select_matmul


@dataclass(frozen=True)
class Backend:
    """The device of a job.

    Attributes:
        device: for torch.
        name: of the hardware.
        threads: of torch and of every BLAS.
        products: library of float32 matrix products: "cublas", "onednn" or "blas".
    """

    device: torch.device
    name: str
    threads: int
    products: str

    @property
    def facts(self) -> dict[str, object]:
        """The entries of the run record; those of a GPU also name the libraries that decide its
        bits.
        """
        facts: dict[str, object] = {
            "device": self.device.type,
            "device_name": self.name,
            "threads": self.threads,
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "products": self.products,
            "instructions": instruction_sets(),
            "tf32": torch.backends.cuda.matmul.allow_tf32,
        }
        if self.device.type == "cuda":
            facts["gpu_libraries"] = {
                "cuda": str(torch.version.cuda),
                "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
            }
        return facts


def _keep_freed_memory() -> None:
    """Tells glibc not to return freed blocks to the system; a no-op with another C library.

    Every step allocates the same gradients again. If their pages were returned, they would be
    mapped and zeroed anew each time, which is a good part of a training step (`python -m
    benchmarks`).
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return
    # Parameters of mallopt, from malloc.h.
    m_trim_threshold, m_mmap_threshold, m_mmap_max = -1, -3, -4
    # The top of the heap is returned only beyond 1 GiB that is free.
    libc.mallopt(m_trim_threshold, 1 << 30)
    # Setting it stops glibc from moving it by itself; 32 MiB is the most that it takes.
    libc.mallopt(m_mmap_threshold, 32 << 20)
    # No mappings of their own for large blocks: those go back to the system as soon as they are
    # freed.
    libc.mallopt(m_mmap_max, 0)


def configure(compute: Compute) -> Backend:
    """Applies `compute` to this process: threads, deterministic algorithms, float32 products, and
    one GPU of several.

    TF32 keeps 10 bits of each factor, too few for differences of squared distances, so it is off
    for everything.

    Raises:
        ReplicateError: `compute` names a GPU or bfloat16, and this torch or this CPU has none.
    """
    # cuBLAS is only repeatable with a fixed workspace.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(compute.threads)
    # By default NumPy's BLAS uses every core, and its last bits depend on their number.
    threadpool_limits(compute.threads, user_api="blas")
    _keep_freed_memory()
    # use_deterministic_algorithms(True) would also load torch's compiler, for over a second.
    torch.set_deterministic_debug_mode("error")
    # Every buffer of this project is written before it is read. (mypy does not know the property.)
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    # cuDNN would choose its routines by timing them, and with them the last bits.
    torch.backends.cudnn.benchmark = False
    if compute.device != "cpu":
        lease_card()
    available = torch.cuda.is_available()
    if compute.device == "cuda" and not available:
        raise ReplicateError(
            "compute.device is cuda, but this torch finds no GPU; install a CUDA build of torch, "
            "or set "
            "compute.device to auto or cpu."
        )
    if available and compute.device != "cpu":
        check_precision(compute.precision, "cuda")
        return Backend(
            torch.device("cuda"), torch.cuda.get_device_name(), compute.threads, "cublas"
        )
    check_precision(compute.precision, "cpu")
    return Backend(torch.device("cpu"), "CPU", compute.threads, select_matmul())
