"""A virtual accelerator: tensors whose numbers lie on the CPU and whose device is another one.

torch shows every operation to `VirtualDevice`, which refuses what a GPU would refuse: tensors of
two devices in one operation, a generator of the CPU for numbers of the device, and operations whose
CUDA kernels are not deterministic. It counts what would make the host wait for the device. What
it cannot show: the numbers, memory and speed of a GPU.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("virtual")
DEVICE = torch.device("virtual:0")

#: Operations that raise on CUDA once deterministic algorithms are asked for: the list of
#: torch.use_deterministic_algorithms in torch's documentation, as far as this project could meet
#: it. `cumsum` (of floats) and `bincount` (with weights) are looked at where they are called.
NOT_DETERMINISTIC = frozenset({
    "kthvalue", "median", "nanmedian", "histc", "put_", "put",
    "nll_loss2d_forward", "nll_loss2d_backward",
    "adaptive_max_pool2d_backward", "_adaptive_avg_pool2d_backward",
    "avg_pool3d_backward", "max_pool3d_with_indices_backward", "max_unpool2d", "max_unpool3d",
    "upsample_linear1d_backward", "upsample_bilinear2d_backward", "upsample_bicubic2d_backward",
    "reflection_pad1d_backward", "reflection_pad2d_backward",
    "grid_sampler_2d_backward", "fractional_max_pool2d_backward", "_ctc_loss_backward",
})  # fmt: skip
#: Operations whose result has a shape or a value that the host must know.
WAITING = frozenset({
    "_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "bincount",
    "_unique2", "unique_dim", "unique_consecutive", "repeat_interleave",
})  # fmt: skip
INDEXING = frozenset({"index", "index_put_", "_index_put_impl_"})


class Refusal(AssertionError):
    """The project asked the device for something that a GPU refuses."""


class VirtualTensor(Tensor):
    """A tensor of the virtual device; `numbers` is the CPU's tensor that holds its values."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> "VirtualTensor":
        """A tensor of the same form on the virtual device."""
        tensor: VirtualTensor = Tensor._make_wrapper_subclass(
            cls,
            numbers.shape,
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=DEVICE,
        )
        tensor.numbers = numbers
        return tensor

    @classmethod
    def __torch_dispatch__(
        cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Outside the device's mode nothing counts or refuses, so nothing may be computed."""
        raise Refusal(f"{operation} outside of VirtualDevice")

    def tolist(self) -> Any:
        """As torch does it: by a copy on the CPU."""
        return self.cpu().tolist()

    def __repr__(self, **_: Any) -> str:
        """For messages of tests."""
        return f"VirtualTensor({self.numbers!r})"


class VirtualGenerator(torch.Generator):
    """A generator that knows which device it was made for, and draws on the CPU."""

    #: Address of a generator -> the type of the device that the latest one there was made for.
    #: Operations see the C++ object alone.
    device_of: ClassVar[dict[int, str]] = {}

    def __new__(cls, device: str | torch.device = "cpu") -> "VirtualGenerator":
        """A generator of the CPU, with the device on record."""
        generator = super().__new__(cls)
        cls.device_of[generator._cdata] = torch.device(device).type
        return generator

    def __init__(self, device: str | torch.device = "cpu") -> None:
        """The parent's own would ask the device for a generator."""


class VirtualDevice(TorchDispatchMode):
    """Computes for the virtual device.

    Attributes:
        waits: operation -> how often the host would have waited for the device to finish it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """One operation, on the device that its arguments lie on or that it names."""
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        virtual = [leaf for leaf in leaves if isinstance(leaf, VirtualTensor)]
        named = kwargs.get("device")
        on_device = named.type == DEVICE.type if named is not None else bool(virtual)
        if not on_device and not virtual:
            return operation(*args, **kwargs)
        name = operation._schema.name.split("::")[1]
        self._refuse(name, args, leaves, virtual)
        self._count(name, args, leaves, on_device)
        return _computed(operation, args, kwargs, virtual, on_device)

    def _refuse(
        self, name: str, args: Any, leaves: list[Any], virtual: list[VirtualTensor]
    ) -> None:
        """Raises Refusal where a GPU would raise."""
        # A number of the CPU without dimensions is read by the host and passed along.
        others = [
            leaf
            for leaf in leaves
            if isinstance(leaf, Tensor) and not isinstance(leaf, VirtualTensor) and leaf.ndim
        ]
        indices_alone = name in INDEXING and isinstance(args[0], VirtualTensor)
        if virtual and others and name not in ("copy_", "_to_copy") and not indices_alone:
            raise Refusal(f"{name}: tensors of two devices")
        generators = [leaf for leaf in leaves if isinstance(leaf, torch._C.Generator)]
        for generator in generators:
            if VirtualGenerator.device_of.get(generator._cdata, "cpu") != DEVICE.type:
                raise Refusal(f"{name}: a generator of the CPU for numbers of the device")
        sums_of_floats = name in ("cumsum", "cumsum_") and virtual[0].is_floating_point()
        weighted_counts = name == "bincount" and len(virtual) > 1
        if name in NOT_DETERMINISTIC or sums_of_floats or weighted_counts:
            raise Refusal(f"{name}: no deterministic CUDA kernel")

    def _count(self, name: str, args: Any, leaves: list[Any], on_device: bool) -> None:
        """Counts an operation that the host cannot queue and go on."""
        copied = name in ("copy_", "_to_copy")
        from_cpu = any(
            isinstance(leaf, Tensor) and not isinstance(leaf, VirtualTensor) for leaf in leaves
        )
        masks = name in INDEXING and any(
            isinstance(leaf, Tensor) and leaf.dtype == torch.bool for leaf in tree_leaves(args[1])
        )
        if name in WAITING or masks or (copied and (from_cpu or not on_device)):
            self.waits[name] += 1


def _computed(
    operation: Any,
    args: Any,
    kwargs: Mapping[str, Any],
    virtual: list[VirtualTensor],
    on_device: bool,
) -> Any:
    """The operation on the CPU's numbers, its results tagged with the device that has them."""

    def numbers(leaf: Any) -> Any:
        return leaf.numbers if isinstance(leaf, VirtualTensor) else leaf

    #: What is computed in place keeps its tensor.
    tensor_of = {id(tensor.numbers): tensor for tensor in virtual}

    def tagged(result: Any) -> Any:
        if not isinstance(result, Tensor):
            return result
        if not on_device:
            # A copy on the CPU shares no memory with the device.
            return result.clone()
        return tensor_of[id(result)] if id(result) in tensor_of else VirtualTensor(result)

    on_cpu = {name: tree_map(numbers, value) for name, value in kwargs.items()}
    if "device" in on_cpu and on_cpu["device"] is not None:
        on_cpu["device"] = torch.device("cpu")
    results = operation(*tree_map(numbers, args), **on_cpu)
    return tree_map(tagged, results)


class _Factories(TorchFunctionMode):
    """What torch builds on the CPU in C++, below the dispatcher, and copies to the device."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Numbers and lists of Python as tensors of the device."""
        kwargs = dict(kwargs or {})
        if function is torch.tensor and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return function(*args, **kwargs).to(device)
        on_device = bool(args) and isinstance(args[0], VirtualTensor)
        if function is Tensor.new_tensor and on_device:
            dtype = kwargs.get("dtype", args[0].dtype)
            return torch.tensor(args[1], dtype=dtype).to(DEVICE)
        if function is Tensor.__getitem__ and on_device:
            index = args[1]
            if isinstance(index, tuple):
                index = tuple(_as_tensor(entry) for entry in index)
            args = (args[0], _as_tensor(index))
        return function(*args, **kwargs)


def _as_tensor(index: Any) -> Any:
    """A list of indices as a tensor of the device; any other index as it is."""
    return torch.tensor(index).to(DEVICE) if isinstance(index, list) else index


@contextlib.contextmanager
def virtual_device() -> Iterator[VirtualDevice]:
    """Within it the virtual device can be used; deterministic algorithms are asked for."""
    device = VirtualDevice()
    ordinary = torch.Generator
    # Backward passes run in this thread: a mode holds for the thread that entered it.
    with torch.autograd.set_multithreading_enabled(False), device, _Factories():
        torch.Generator = VirtualGenerator  # type: ignore[misc]
        try:
            yield device
        finally:
            torch.Generator = ordinary  # type: ignore[misc]
