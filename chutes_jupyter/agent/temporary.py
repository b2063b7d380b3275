"""A short name for the folder of a job's temporary files.

Sockets are files whose paths may have 103 bytes on macOS and 107 on Linux, and libraries put
theirs into ``TMPDIR``: multiprocessing, and so PyTorch's DataLoader, 32 bytes below it, editors
53. A job's folder alone takes more than the rest, and what goes beyond fails far from its cause,
or hangs. So the folder has a second name, a link; the files are where they were.
"""

from __future__ import annotations

import contextlib
import os

#: A folder's path up to this long, in bytes, is used as it is: an editor's socket fits below it.
LONGEST = 50
#: Where the links are: the shortest folder that everybody may write to, and nobody clears of
#: what others have there.
PLACE = "/tmp"  # noqa: S108  # links with random names: nothing is opened by a name to guess


def short(folder: str, job_id: str) -> str:
    """Return a path of a job's folder for temporary files that is short enough, made if need be.

    Parameters
    ----------
    folder : str
        The folder itself; it is returned where a link can't be had.
    job_id : str
        The job's id, which is random: nobody else can have taken the name before.
    """
    if len(os.fsencode(folder)) <= LONGEST:
        return folder
    link = _link(job_id)
    try:
        os.symlink(folder, link)
    except OSError:
        # Nothing may be written there, or the name is taken: if by us, that is the one.
        return link if _is_ours(folder, link) else folder
    return link


def forget(folder: str, job_id: str) -> None:
    """Remove the link of a job that has ended."""
    link = _link(job_id)
    if _is_ours(folder, link):
        with contextlib.suppress(OSError):
            os.unlink(link)


def _link(job_id: str) -> str:
    return os.path.join(PLACE, "chute-" + job_id[:16])


def _is_ours(folder: str, link: str) -> bool:
    try:
        return os.readlink(link) == folder and os.lstat(link).st_uid == os.geteuid()
    except OSError:
        return False
