"""Memory that a device has free."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sarcurate.errors import HardwareError

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# Names of limit, use and reclaimable file cache: version 2 of control groups, and version 1.
_UNIFIED = ("memory.max", "memory.current", "inactive_file")
_LEGACY = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def available_bytes(device: str) -> int:
    """Bytes free on ``cpu`` or ``cuda[:n]``, this process's present use left out.

    Raises:
        HardwareError: no such device here.
    """
    import torch

    if device == "cpu":
        return available_cpu_bytes()
    if not device.startswith("cuda"):
        raise HardwareError(f"device {device!r} is unknown, expected cpu or cuda", fix="choose cpu or cuda")
    # Asked by number: a missing one among several is refused here as well.
    number = int(device.partition(":")[2] or 0)
    if number >= torch.cuda.device_count():
        raise HardwareError(
            f"device {device} is not here: torch sees {torch.cuda.device_count()} CUDA devices",
            fix="choose cpu, or install a driver and a torch build that fit the GPU",
        )
    return int(torch.cuda.mem_get_info(number)[0])


def available_cpu_bytes(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int:
    """Bytes the system would give: least of the machine's free memory and what control groups leave.

    Where there is no ``proc``, all of the machine's memory.
    """
    return min(_machine_bytes(proc), *_group_bytes(proc, cgroups))


def _machine_bytes(proc: Path) -> int:
    if not (proc / "meminfo").exists():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    lines = (proc / "meminfo").read_text("ascii").splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return 1024 * kib["MemAvailable"]


def _group_bytes(proc: Path, cgroups: Path) -> Iterator[int]:
    """What each control group of this process leaves, and each group above it; endless where unlimited."""
    yield 1 << 62
    if not (proc / "self" / "cgroup").exists():
        return
    for line in (proc / "self" / "cgroup").read_text("utf-8").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            yield from _left(cgroups, group, _UNIFIED)
        elif "memory" in controllers.split(","):
            yield from _left(cgroups / "memory", group, _LEGACY)


def _left(root: Path, group: str, names: tuple[str, str, str]) -> Iterator[int]:
    folder = root / group.lstrip("/")
    for place in (folder, *folder.parents[: len(folder.relative_to(root).parts)]):
        limit, use, reclaimable = place / names[0], place / names[1], place / "memory.stat"
        if limit.exists() and limit.read_text("ascii").strip() != "max":
            stat = dict(line.split() for line in reclaimable.read_text("ascii").splitlines())
            held = int(use.read_text("ascii")) - int(stat.get(names[2], 0))
            yield max(0, int(limit.read_text("ascii")) - held)
