"""torchvision, which knows MNIST on its own: whether or not its compiled operators fit the
installed torch.
"""

from types import ModuleType

#: Operators that torchvision describes to torch even where its binary did not load.
_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision() -> ModuleType:
    """Imports torchvision; a wheel built for CUDA also works beside a torch for CPUs.

    Such a wheel finds no CUDA libraries and skips its binary in silence, but still registers shape
    rules for two operators that the binary would have declared, which fails. Declaring them first
    lets the import go through. Data sets, transforms and image grids need no compiled operator. The
    plain import is tried first, because where the binary does load, a second declaration would
    clash with its own.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        import torch

        for name in _OPERATORS:
            torch.library.define(f"torchvision::{name}", _SCHEMA)
        import torchvision
    module: ModuleType = torchvision
    return module
