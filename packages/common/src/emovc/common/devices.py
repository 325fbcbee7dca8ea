"""What several devices that train together must agree on."""

from torch import Tensor
from torch import distributed as dist


def sum_over_devices(*tensors: Tensor) -> None:
    """Replace tensors by their sums over all devices."""
    if _several():
        for tensor in tensors:
            dist.all_reduce(tensor)


def from_first_device(x: Tensor) -> Tensor:
    """The first device's values, on every device; a contiguous tensor is overwritten by them."""
    x = x.contiguous()
    if _several():
        dist.broadcast(x, src=0)
    return x


def _several() -> bool:
    return dist.is_available() and dist.is_initialized()
