"""A stand-in for NVIDIA's NVML library, which says what a state file says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

GIB = 1024

# A driver in a few lines. The file that FAKE_NVML names has a line for each GPU: its index, its
# UUID, its memory and what is free of it in MiB, whether it is split into instances, and for
# each process its pid and memory in MiB. Single answers can be spoiled by the environment.
SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
typedef unsigned long long wide;
#define MOST 64
static struct gpu {
    char uuid[96]; wide total, free; unsigned mig, count, pids[512]; wide used[512];
} gpus[MOST];
static unsigned count;
static int number(const char *name, int other) {
    const char *text = getenv(name);
    return text ? atoi(text) : other;
}
static void simple(unsigned wanted) {
    for (count = 0; count < wanted; count++) {
        struct gpu *gpu = &gpus[count];
        memset(gpu, 0, sizeof *gpu);
        snprintf(gpu->uuid, sizeof gpu->uuid, "GPU-%08x", count);
        gpu->total = 24576; gpu->free = 24000;
    }
}
static void look(void) {
    char line[8192];
    FILE *file = getenv("FAKE_NVML") ? fopen(getenv("FAKE_NVML"), "r") : NULL;
    if (number("FAKE_HANG", 0)) for (;;) pause();
    if (number("FAKE_CRASH", 0)) abort();
    simple(number("FAKE_COUNT", 2));
    if (!file) return;
    for (count = 0; count < MOST && fgets(line, sizeof line, file);) {
        struct gpu *gpu = &gpus[count];
        int at = 0, more = 0;
        memset(gpu, 0, sizeof *gpu);
        if (sscanf(line, "%95s %llu %llu %u%n", gpu->uuid, &gpu->total, &gpu->free, &gpu->mig,
                   &at) < 4) continue;
        while (sscanf(line + at, "%u %llu%n", &gpu->pids[gpu->count], &gpu->used[gpu->count],
                      &more) == 2) { gpu->count++; at += more; }
        count++;
    }
    fclose(file);
}
int nvmlInit_v2(void) { look(); return number("FAKE_INIT", 0); }
int nvmlShutdown(void) { puts("shut down"); fflush(stdout); return 0; }
#ifndef OLD
int nvmlDeviceGetCount_v2(unsigned *found) {
    clock_t dear = clock() + (clock_t)number("FAKE_COST", 0) * CLOCKS_PER_SEC / 1000;  /* in ms */
    while (clock() < dear) {}
    look();  /* a driver tells what is so now */
    *found = count;
    return number("FAKE_COUNT_ANSWER", 0);
}
#endif
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = (void *)(0x7f0000000000ULL + index);  /* a handle is a pointer, and a wide one */
    return (int)index == number("FAKE_LOST", -1) ? 15 : 0;
}
static struct gpu *of(void *handle) {
    return ((wide)handle >> 32) == 0x7f00 ? &gpus[(wide)handle & 0xff] : NULL;
}
int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
    if (!of(handle)) return 2;
    snprintf(name, length, "FAKE GPU (simulated)");
    return number("FAKE_NAME", 0);
}
int nvmlDeviceGetMemoryInfo(void *handle, wide *memory) {
    if (!of(handle)) return 2;
    memory[0] = of(handle)->total << 20;
    memory[1] = of(handle)->free << 20;
    memory[2] = memory[0] - memory[1];
    return number("FAKE_MEMORY", 0);
}
#ifndef BARE
int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned length) {
    if (!of(handle)) return 2;
    snprintf(uuid, length, "%s", of(handle)->uuid);
    return 0;
}
int nvmlDeviceGetUtilizationRates(void *handle, unsigned *rates) {
    if (!of(handle)) return 2;
    rates[0] = 40 + ((wide)handle & 0xff);
    rates[1] = 7;
    return number("FAKE_BUSY", 0);
}
int nvmlDeviceGetMigMode(void *handle, unsigned *now, unsigned *after) {
    if (!of(handle)) return 2;
    *now = *after = of(handle)->mig;
    return number("FAKE_MIG", 0);
}
#ifdef FIRST
struct process { unsigned pid; wide used; };
int nvmlDeviceGetComputeRunningProcesses(
#else
struct process { unsigned pid; wide used; unsigned gpu, compute; };
int nvmlDeviceGetComputeRunningProcesses_v3(
#endif
    void *handle, unsigned *size, struct process *found) {
    struct gpu *gpu = of(handle);
    unsigned room = *size;
    if (!gpu) return 2;
    *size = gpu->count;
    if (gpu->count > room) return 7;
    for (unsigned i = 0; i < gpu->count; i++) {
        memset(&found[i], 0xff, sizeof found[i]);
        found[i].pid = gpu->pids[i];
        if (gpu->used[i]) found[i].used = gpu->used[i] << 20;  /* else: not known */
    }
    return 0;
}
#endif
"""


def build(folder: Path, *options: str) -> Path:
    """Compile the library into a folder, and return that."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    source = folder / "nvml.c"
    source.write_text(SOURCE)
    library = folder / "libnvidia-ml.so.1"
    command = ["gcc", "-shared", "-fPIC", *options, "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    library.chmod(0o755)
    return folder


def uuid(index: int) -> str:
    """Return the UUID of the stand-in's GPU of that index, as long as a real one's."""
    return f"GPU-{index:08x}-1234-5678-9abc-def012345678"


class Cards:
    """The GPUs of a machine that has none.

    Parameters
    ----------
    folder : Path
        Where the state file and the folder of the line lie.
    library : Path
        The folder of the library.
    count : int
        How many there are.
    """

    def __init__(self, folder: Path, library: Path, count: int) -> None:
        self._state = folder / "nvml.state"
        self._library = library
        self.locks = folder / "locks"
        self.set(count)

    def set(
        self,
        count: int,
        *,
        users: dict[int, Sequence[tuple[int, int]]] | None = None,
        memory: Sequence[int] = (),
        split: Sequence[int] = (),
    ) -> None:
        """Say how many there are, their memory in MiB, and which processes use them."""
        lines = []
        for index in range(count):
            total = memory[index] if memory else 80 * GIB
            used = (users or {}).get(index, ())
            free = total - sum(size for _, size in used)
            words = [uuid(index), total, free, int(index in split), *(w for p in used for w in p)]
            lines.append(" ".join(map(str, words)))
        # Whole or not at all: somebody may read it now.
        beside = self._state.with_suffix(".new")
        beside.write_text("".join(line + "\n" for line in lines))
        beside.chmod(0o644)
        beside.replace(self._state)

    @property
    def environment(self) -> dict[str, str]:
        """What a worker's processes need to have these GPUs."""
        return {
            "LD_LIBRARY_PATH": str(self._library),
            "FAKE_NVML": str(self._state),
            "CHUTES_GPU_LOCKS": str(self.locks),
        }

    def tickets(self) -> list[dict[str, object]]:
        """Return what lies in the line's folder, of the living and the dead, in its order."""
        files = sorted(self.locks.glob("*-*.waits")) + sorted(self.locks.glob("*-*.has"))
        return [json.loads(file.read_text()) for file in files]
