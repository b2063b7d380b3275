"""Memory that was touched before, for cases that write large files.

In a virtual machine the first touch of a page may cost ten times the copy into it, and the host
takes large free blocks back within seconds: whether a file meets such pages would be chance.
"""

from __future__ import annotations

import mmap
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_FIRST, _STEP, _PAUSE = 256 << 20, 128 << 20, 0.1


@contextmanager
def touched(size: int) -> Iterator[None]:
    """Have a process touch memory, and give it back bit by bit within the block.

    Parameters
    ----------
    size : int
        In bytes; what is written within the block.
    """
    command = [sys.executable, "-m", "benchmarks.memory", str(size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"touched\n"
        process.stdin.write(b"\n")
        process.stdin.flush()
        try:
            yield
        finally:
            process.stdin.close()
            process.terminate()


def _hold(size: int) -> None:
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for start in range(0, size, mmap.PAGESIZE):
            memory[start] = 1
        print("touched", flush=True)
        sys.stdin.readline()
        start, step = 0, _FIRST
        while start < size:
            memory.madvise(mmap.MADV_DONTNEED, start, min(step, size - start))
            start += step
            step = _STEP
            time.sleep(_PAUSE)


if __name__ == "__main__":
    _hold(int(sys.argv[1]))
