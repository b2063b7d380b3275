"""What the worker has: GPUs by NVML, processors, memory.

NVML is the library that comes with NVIDIA's driver, and its functions are stable; the text of
``nvidia-smi`` is not. Nothing here raises: a worker that can't tell is still a worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import Any, Dict, List, Optional

from . import processes

_LIBRARY = "libnvidia-ml.so.1"
_NOT_SUPPORTED, _TOO_SMALL = 3, 7
#: NVML's own length of a device name, and of a UUID, with room to spare.
_NAME_SIZE = 256
#: No GPU has more processes than we ask for.
_PROCESSES, _MOST_PROCESSES = 128, 4096
#: What NVML says where it does not know how much memory a process uses.
_UNKNOWN = 2**64 - 1
_MIB = 1024 * 1024
#: Where Linux tells the control group's limit, as a container sees it: version 2, version 1.
MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
#: A driver that is sick can keep a question for ever, in seconds.
PATIENCE = 20.0

Gpu = Dict[str, Any]


def list_gpus() -> Optional[List[Gpu]]:
    """Return the worker's GPUs, as the driver lists them.

    Returns
    -------
    list of dict, or None
        Each with ``name``, ``memory_mib``, and where the driver tells them: ``index``,
        ``uuid``, ``free_mib``, ``mig`` (whether it is split into instances) and ``processes``
        (each with ``pid`` and ``used_mib``). None where NVML is missing: nothing can be said.
        Empty where it is there and finds none, also because the driver isn't loaded: no job
        could use a GPU then. A GPU that doesn't answer (fallen off the bus) is left out.
    """
    try:
        library = opened()
    except OSError:
        return []
    if library is None:
        return None
    try:
        return devices(library)
    except AttributeError:  # a library without these functions: older than any supported driver
        return None
    finally:
        library.nvmlShutdown()


def opened() -> Any:
    """Return NVML, ready to be asked; None where it is missing.

    Raises
    ------
    OSError
        If it can't be used: the driver isn't loaded.
    """
    import ctypes

    try:
        library = ctypes.CDLL(_LIBRARY)
        begin = library.nvmlInit_v2
    except (OSError, AttributeError):
        return None
    if begin() != 0:
        raise OSError("the GPU driver is not loaded")
    return library


def ask(patience: float = PATIENCE) -> Optional[List[Gpu]]:
    """Return `list_gpus` as a process of its own finds it.

    So the driver's library is in no process that others are forked from, and one that hangs
    or crashes takes nobody with it.

    Parameters
    ----------
    patience : float
        How long the driver may take, in seconds.

    Raises
    ------
    OSError
        If the driver does not answer in time, or crashed.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _answer(writing)
    os.close(writing)
    try:
        told = _read(reading, patience)
    finally:
        os.close(reading)
        _end(pid)
    gpus: Optional[List[Gpu]] = json.loads(told.decode("ascii"))
    return gpus


def _answer(writing: int) -> None:
    try:
        # One that hangs in the driver can't even be killed: it must hold nothing of ours.
        let_go(writing)
        with os.fdopen(writing, "wb") as file:
            file.write(json.dumps(list_gpus()).encode("ascii"))
    finally:
        os._exit(0)


def let_go(keep: int) -> None:
    """Hold no descriptor but that one, and standard streams that lead nowhere."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    processes.close_descriptors(keep)


def _read(fd: int, patience: float) -> bytes:
    told = b""
    deadline = time.monotonic() + patience
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            raise OSError("the GPU driver did not answer within %d s" % patience)
        data = os.read(fd, 65536)
        if not data:
            break
        told += data
    if not told:
        raise OSError("the library of the GPU driver crashed")
    return told


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    collect(pid)


def collect(pid: int) -> None:
    """Collect a child that was killed, unless it hangs in the driver."""
    for _ in range(100):
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                time.sleep(0.005)
                continue
        return


def devices(library: Any, busy: bool = False) -> List[Gpu]:
    """Return the GPUs of an opened library; with `busy` also ``util``, in percent or None."""
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
        if gpu is None:
            continue
        if busy:
            gpu["util"] = _utilisation(library, handle)
        gpus.append(dict(gpu, index=index))
    return gpus


def _device(library: Any, handle: Any) -> Optional[Gpu]:
    import ctypes

    name = ctypes.create_string_buffer(_NAME_SIZE)
    # total, free, used
    memory = (ctypes.c_ulonglong * 3)()
    if library.nvmlDeviceGetName(handle, name, ctypes.c_uint(_NAME_SIZE)) != 0:
        return None
    answer = library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    free: Optional[int] = None
    if answer == 0:
        total: Optional[int] = memory[0] // _MIB
        free = memory[1] // _MIB
    elif answer == _NOT_SUPPORTED:
        # A GPU that shares the host's memory has none of its own to tell.
        total = memory_mib()
    else:
        total = None
    if total is None:
        return None
    return {
        "name": name.value.decode("utf-8", "replace"),
        "memory_mib": total,
        "free_mib": free,
        "uuid": _uuid(library, handle),
        "mig": _is_split(library, handle),
        "processes": _processes(library, handle),
    }


def _uuid(library: Any, handle: Any) -> Optional[str]:
    import ctypes

    function = _optional(library, "nvmlDeviceGetUUID")
    uuid = ctypes.create_string_buffer(_NAME_SIZE)
    if function is None or function(handle, uuid, ctypes.c_uint(_NAME_SIZE)) != 0:
        return None
    return uuid.value.decode("ascii", "replace") or None


def _is_split(library: Any, handle: Any) -> bool:
    import ctypes

    function = _optional(library, "nvmlDeviceGetMigMode")
    now, after = ctypes.c_uint(0), ctypes.c_uint(0)
    if function is None or function(handle, ctypes.byref(now), ctypes.byref(after)) != 0:
        return False  # not supported: a GPU that can't be split
    return now.value == 1


def _utilisation(library: Any, handle: Any) -> Optional[int]:
    import ctypes

    function = _optional(library, "nvmlDeviceGetUtilizationRates")
    # of the GPU, of its memory
    rates = (ctypes.c_uint * 2)()
    if function is None or function(handle, ctypes.byref(rates)) != 0:
        return None
    return min(100, int(rates[0]))


def _processes(library: Any, handle: Any) -> List[Dict[str, Optional[int]]]:
    """Return who computes on a GPU, as far as the driver tells us."""
    import ctypes

    first = [("pid", ctypes.c_uint), ("used", ctypes.c_ulonglong)]
    # The newer functions say of which instance, too.
    newer = [*first, ("gpu", ctypes.c_uint), ("compute", ctypes.c_uint)]
    fields: List[Any] = newer
    base = "nvmlDeviceGetComputeRunningProcesses"
    function = _optional(library, base + "_v3") or _optional(library, base + "_v2")
    if function is None:
        function, fields = _optional(library, base), first
    kind: Any = type("Process", (ctypes.Structure,), {"_fields_": fields})
    size = _PROCESSES
    while function is not None and size <= _MOST_PROCESSES:
        found = (kind * size)()
        count = ctypes.c_uint(size)
        answer = function(handle, ctypes.byref(count), ctypes.byref(found))
        if answer == 0:
            return [
                {"pid": p.pid, "used_mib": None if p.used == _UNKNOWN else p.used // _MIB}
                for p in found[: count.value]
            ]
        if answer != _TOO_SMALL:
            break
        size *= 4
    return []


def _optional(library: Any, name: str) -> Any:
    try:
        return getattr(library, name)
    except AttributeError:
        return None


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
