"""What the worker has: GPUs by NVML, processors, memory.

NVML is the library that comes with NVIDIA's driver, and its functions are stable; the text of
``nvidia-smi`` is not. Nothing here raises: a worker that can't tell is still a worker.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, List, Optional

_LIBRARY = "libnvidia-ml.so.1"
_NOT_SUPPORTED = 3
#: NVML's own length of a device name, with room to spare.
_NAME_SIZE = 256
_MIB = 1024 * 1024
#: Where Linux tells the control group's limit, as a container sees it: version 2, version 1.
MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def list_gpus() -> Optional[List[Dict[str, Any]]]:
    """Return the worker's GPUs, as the driver lists them.

    Returns
    -------
    list of dict, or None
        Each with ``name`` and ``memory_mib``. None where NVML is missing: nothing can be said.
        Empty where it is there and finds none, also because the driver isn't loaded: no job
        could use a GPU then. A GPU that doesn't answer (fallen off the bus) is left out.
    """
    import ctypes

    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    try:
        if library.nvmlInit_v2() != 0:
            return []
        try:
            return _devices(library)
        finally:
            library.nvmlShutdown()
    except AttributeError:  # a library without these functions: older than any supported driver
        return None


def _devices(library: Any) -> List[Dict[str, Any]]:
    import ctypes

    count = ctypes.c_uint(0)
    if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
        return []
    gpus = []
    for index in range(count.value):
        handle = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)) != 0:
            continue
        gpu = _device(library, handle)
        if gpu is not None:
            gpus.append(gpu)
    return gpus


def _device(library: Any, handle: Any) -> Optional[Dict[str, Any]]:
    import ctypes

    name = ctypes.create_string_buffer(_NAME_SIZE)
    # total, free, used
    memory = (ctypes.c_ulonglong * 3)()
    if library.nvmlDeviceGetName(handle, name, ctypes.c_uint(_NAME_SIZE)) != 0:
        return None
    answer = library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    if answer == 0:
        total: Optional[int] = memory[0] // _MIB
    elif answer == _NOT_SUPPORTED:
        # A GPU that shares the host's memory has none of its own to tell.
        total = memory_mib()
    else:
        total = None
    if total is None:
        return None
    return {"name": name.value.decode("utf-8", "replace"), "memory_mib": total}


def memory_mib() -> Optional[int]:
    """Return the memory that processes here may use, in MiB; None where that can't be known.

    It is the machine's memory, or the control group's limit where that is less: in a container
    the machine's figure promises what nobody can have.
    """
    total = _machine_memory()
    if total is None:
        return None
    limit = _memory_limit()
    return (total if limit is None else min(total, limit)) // _MIB


def _machine_memory() -> Optional[int]:
    total: Optional[int] = None
    if sys.platform != "win32":
        try:
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError):  # a system that doesn't know these names
            total = None
    return total


def _memory_limit() -> Optional[int]:
    for path in MEMORY_LIMITS:
        try:
            with open(path) as file:
                text = file.read().strip()
        except OSError:  # no control groups, or the other version of them
            continue
        if text.isdigit():
            return int(text)
    return None


def cpu_count() -> int:
    """Return how many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def host_facts() -> Dict[str, Any]:
    """Return ``cpus``, ``memory_mib`` (None where unknown) and ``platform``."""
    return {"cpus": cpu_count(), "memory_mib": memory_mib(), "platform": sys.platform}
