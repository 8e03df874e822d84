"""Bytes sent between the processes of a torch.distributed group, as tensors, so that nothing is unpickled."""

import torch
from torch import Tensor
from torch import distributed as dist


def all_gather_bytes(data: bytes, group: dist.ProcessGroup | None) -> list[bytes]:
    """Return the bytes of all ranks in order of rank; they are sent as tensors, and nothing is unpickled."""
    device = device_of(group)
    length = torch.tensor([len(data)], device=device)
    lengths = [torch.zeros_like(length) for _ in range(dist.get_world_size(group))]
    dist.all_gather(lengths, length, group=group)
    longest = max(int(each) for each in lengths)
    padded = torch.zeros(longest, dtype=torch.uint8, device=device)
    padded[: len(data)] = _values(data)
    gathered: list[Tensor] = [torch.zeros_like(padded) for _ in lengths]
    dist.all_gather(gathered, padded, group=group)
    return [bytes(each[: int(n)].cpu().numpy().tobytes()) for each, n in zip(gathered, lengths, strict=True)]


def broadcast_bytes(data: bytes, group: dist.ProcessGroup | None = None) -> bytes:
    """Send the bytes of rank 0 to all ranks; return them."""
    device = device_of(group)
    length = torch.tensor([len(data)], device=device)
    dist.broadcast(length, 0, group=group)
    sent = torch.zeros(int(length), dtype=torch.uint8, device=device)
    if dist.get_rank(group) == 0:
        sent.copy_(_values(data))
    dist.broadcast(sent, 0, group=group)
    return bytes(sent.cpu().numpy().tobytes())


def _values(data: bytes) -> Tensor:
    # torch cannot make a tensor from an empty buffer.
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.zeros(0, dtype=torch.uint8)


def device_of(group: dist.ProcessGroup | None = None) -> torch.device:
    """Return the device whose tensors a process group can send."""
    return torch.device("cuda" if dist.get_backend(group) == "nccl" else "cpu")
