"""The folder of one mirror on this machine, and the few hidden files that we keep about it.

`chute_outputs/train-3f9c2a/` holds what the job wrote and nothing else. What we need besides
lies in `chute_outputs/.chute/train-3f9c2a/`: whose folder it is, a lock, files on their way,
and a list of what was put in place. Both are on one file system, so a finished file is put in
place by rename.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import stat
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from chutes_jupyter.errors import ConfigError, OutputsError
from chutes_jupyter.files import file_lock
from chutes_jupyter.replies import Entry, path_fault

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = ".chute"
_PIECE = 1024 * 1024
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Placed:
    """A file that this mirror has put in place.

    `size`, `mtime_ns` and `sha256` are the worker's; `local_ns` is the time of the file here,
    by which a change that somebody made here is noticed.
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str
    local_ns: int


class MirrorFolder:
    """The files of one mirror; every path is checked before it is touched.

    Parameters
    ----------
    outputs : Path
        The folder that takes the outputs of all jobs (`chute_outputs`).
    name : str
        The folder of this job in it.
    """

    def __init__(self, outputs: Path, name: str) -> None:
        self.path = outputs / name
        self._own = outputs / HIDDEN / name
        self._partial = self._own / "partial"
        self._index = self._own / "placed.jsonl"
        self._done = self._own / "done.json"
        self.placed: dict[str, Placed] = {}
        #: Lines that the index still lacks, since the disk was full.
        self._unwritten: list[str] = []
        self._torn = False
        self._writing = threading.Lock()

    @classmethod
    def claim(cls, outputs: Path, job_name: str, job_id: str) -> MirrorFolder:
        """Return the folder of a job, made its own: `NAME-3f9c2a`, or with more of its id.

        Raises
        ------
        OutputsError
            If no folder can be made there.
        """
        try:
            for length in (6, 12, len(job_id)):
                folder = cls(outputs, f"{job_name}-{job_id[:length]}")
                if folder._take(job_id, last=length == len(job_id)):
                    folder._load()
                    return folder
        except OSError as error:
            raise OutputsError(f"No folder can be made in {outputs}: {error}") from error
        raise OutputsError(f"{outputs}: every folder name for job {job_id} is another job's.")

    @classmethod
    def of(cls, path: Path, job_id: str) -> MirrorFolder | None:
        """Return the folder at `path`, if it was made for that job."""
        folder = cls(path.parent, path.name)
        try:
            return folder if _owner(folder._own / "job") == job_id else None
        except OSError:
            return None

    def forget(self, *, files: bool) -> bool:
        """Remove what we keep about the folder, and with `files` what we put into it.

        Files of anyone else stay. Returns False while another process brings files here.
        """
        held = self.try_lock()
        if held is None:
            return False
        with held:
            if files:
                self.reload()
                self.remove_others(())
                with contextlib.suppress(OSError):  # not empty, or never made
                    self.path.rmdir()
            shutil.rmtree(self._own, ignore_errors=True)
        return True

    def beside(self, name: str) -> Path:
        """Return where something of ours lies that belongs to the job, and is no output."""
        return self._own / name

    @staticmethod
    def known(path: Path) -> bool:
        """Whether an earlier mirror has put anything into this folder."""
        return (path.parent / HIDDEN / path.name / "placed.jsonl").exists()

    def _take(self, job_id: str, *, last: bool) -> bool:
        foreign = not self._own.exists() and self.path.exists() and any(self.path.iterdir())
        if foreign and not last:
            return False
        self._own.mkdir(parents=True, exist_ok=True)
        owner = self._own / "job"
        try:
            handle = os.open(owner, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return _owner(owner) == job_id
        try:
            with os.fdopen(handle, "w") as file:
                file.write(job_id)
        except OSError:
            owner.unlink()  # an empty one would be nobody's for ever
            raise
        return True

    def _load(self) -> None:
        try:
            text = self._index.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        self._torn = not text.endswith("\n")
        for line in text.splitlines():
            try:
                record = json.loads(line)
                if record.get("gone"):
                    self.placed.pop(record["path"], None)
                else:
                    self.placed[record["path"]] = Placed(**record)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue  # half a line of a process that died; its file comes again

    def reload(self) -> None:
        """Read again what is in place; another process may have worked here."""
        self.placed.clear()
        self._load()

    def learn(self) -> None:
        """Take over what another process has put in place meanwhile, without the lock."""
        known = dict(self.placed)
        self._load()
        self.placed.update(known)

    # -- one process at a time --------------------------------------------------------

    def try_lock(self) -> contextlib.ExitStack | None:
        """Return the right to write here, to be closed at the end; None while another has it."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(file_lock(self._own / "lock", timeout=0.0))
            except ConfigError:
                return None
            return stack.pop_all()

    def finished(self) -> int | None:
        """Return the version of the final listing that is here whole, or None."""
        try:
            version = json.loads(self._done.read_text(encoding="utf-8"))["version"]
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None
        return version if isinstance(version, int) else None

    def finish(self, version: int) -> None:
        """Note that everything of the final listing is here."""
        self._append()
        beside = self._done.with_suffix(".new")
        try:
            beside.write_text(json.dumps({"version": version}), encoding="utf-8")
            beside.replace(self._done)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        shutil.rmtree(self._partial, ignore_errors=True)

    # -- what is here -----------------------------------------------------------------

    def has(self, entry: Entry) -> bool:
        """Whether this very version of a file is in place, untouched since."""
        placed = self.placed.get(entry.path)
        if placed is None or placed.size != entry.size:
            return False
        if entry.sha256 is not None and entry.sha256 != placed.sha256:
            return False
        if entry.sha256 is None and entry.mtime_ns != placed.mtime_ns:
            return False
        try:
            status = self.inside(entry.path).lstat()
        except OSError:
            return False
        same = (status.st_size, status.st_mtime_ns) == (placed.size, placed.local_ns)
        return stat.S_ISREG(status.st_mode) and same

    def exists(self, path: str) -> bool:
        """Whether a regular file is in place, whatever is in it."""
        try:
            return stat.S_ISREG(self.inside(path).lstat().st_mode)
        except OSError:
            return False

    def inside(self, path: str) -> Path:
        """Return where a file of the worker lies here.

        Raises
        ------
        OutputsError
            If the path leads out of the folder, or means more than a name here.
        """
        if fault := path_fault(path):
            raise OutputsError(f"{path!r}: {fault}")
        return self.path.joinpath(*PurePosixPath(path).parts)

    # -- putting in place -------------------------------------------------------------

    def partial(self, entry: Entry) -> PartialFile:
        """Return the file on its way for this version of an entry."""
        return PartialFile(self._partial / self.partial_name(entry))

    def apart(self) -> PartialFile:
        """Return a file on its way that no other process knows of."""
        return PartialFile(self._own / f"now-{secrets.token_hex(8)}")

    @staticmethod
    def partial_name(entry: Entry) -> str:
        """Return what the file on its way is called."""
        version = f"{entry.path}\0{entry.size}\0{entry.mtime_ns}"
        return hashlib.sha256(version.encode("utf-8")).hexdigest()[:40]

    def arrived(self) -> dict[str, int]:
        """Return how many bytes of each file on its way are here."""
        try:
            with os.scandir(self._partial) as found:
                return {item.name: item.stat().st_size for item in found}
        except FileNotFoundError:
            return {}

    def drop_partials(self, entries: Iterable[Entry]) -> None:
        """Remove files on their way that the worker has no more; none may be arriving."""
        if left := self.arrived():
            wanted = {self.partial_name(entry) for entry in entries}
            for name in left.keys() - wanted:
                (self._partial / name).unlink(missing_ok=True)

    def place(self, partial: PartialFile, entry: Entry, sha256: str) -> None:
        """Put a file that arrived whole in its place.

        Raises
        ------
        OutputsError
            If something that is not ours stands in the way.
        OSError
            If the file system refuses.
        """
        target = self.inside(entry.path)
        self._make_parents(target)
        if _is_folder(target):
            self._clear_folder(target)
        # The worker's time; a file system that can't hold it keeps its own.
        with contextlib.suppress(OSError, OverflowError):
            os.utime(partial.path, ns=(entry.mtime_ns, entry.mtime_ns))
        local_ns = partial.path.stat().st_mtime_ns
        partial.path.replace(target)
        self._note(Placed(entry.path, entry.size, entry.mtime_ns, sha256, local_ns))

    def _make_parents(self, target: Path) -> None:
        folder = self.path
        folder.mkdir(parents=True, exist_ok=True)
        for part in target.parent.relative_to(self.path).parts:
            folder /= part
            try:
                mode = folder.lstat().st_mode
            except FileNotFoundError:
                folder.mkdir(exist_ok=True)  # another file's thread may be faster
                continue
            if stat.S_ISDIR(mode):
                continue
            path = folder.relative_to(self.path).as_posix()
            if not stat.S_ISREG(mode) or path not in self.placed:
                raise OutputsError(f"{folder} is in the way: it is not a folder, and not ours")
            self._remove(path)  # was a file on the worker, is a folder now
            folder.mkdir()

    def _clear_folder(self, target: Path) -> None:
        """Remove our files from a folder that is a file on the worker now."""
        below = f"{target.relative_to(self.path).as_posix()}/"
        for path in [path for path in list(self.placed) if path.startswith(below)]:
            self._remove(path)
        if _is_folder(target):
            raise OutputsError(f"{target} is in the way: it holds files that are not ours")

    def remove_others(self, keep: Iterable[str], unsure: Iterable[str] = ()) -> None:
        """Remove what we put in place and the worker has no more; never anything else.

        Parameters
        ----------
        keep : iterable of str
            What the worker has.
        unsure : iterable of str
            Files and folders that it could not look at just now.
        """
        kept = set(keep)
        doubtful = tuple(f"{path}/" for path in unsure)
        for path in [path for path in list(self.placed) if path not in kept]:
            if not f"{path}/".startswith(doubtful):
                self._remove(path)

    def _remove(self, path: str) -> None:
        target = self.inside(path)
        if self._parents_are_folders(target):
            if not _is_folder(target):
                target.unlink(missing_ok=True)
            for folder in target.parents:
                if folder == self.path:
                    break
                try:
                    folder.rmdir()
                except OSError:
                    break  # not empty
        self.placed.pop(path, None)
        self._append({"path": path, "gone": True})

    def _parents_are_folders(self, target: Path) -> bool:
        return all(
            _is_folder(folder) for folder in target.parents if folder.is_relative_to(self.path)
        )

    def _note(self, placed: Placed) -> None:
        self.placed[placed.path] = placed
        self._append(asdict(placed))

    def _append(self, *records: dict[str, Any]) -> None:
        """Note records in the index, with those that a full disk did not take before."""
        with self._writing:
            self._unwritten += [json.dumps(record) + "\n" for record in records]
            if not self._unwritten:
                return
            # Half a line that was left there must not take a whole one with it.
            text = "\n" * self._torn + "".join(self._unwritten)
            self._torn = True
            with self._index.open("a", encoding="utf-8") as file:
                file.write(text)
            self._torn = False
            self._unwritten.clear()


class PartialFile:
    """A file on its way: it grows, is hashed as it grows, and survives its process.

    Parameters
    ----------
    path : Path
        Where it lies; its name says which version of which file it is.
    mode : int
        Who may read it, where it is made.
    """

    def __init__(self, path: Path, mode: int = 0o666) -> None:
        self.path, self._mode = path, mode
        self.size = 0
        self._file: IO[bytes] | None = None
        self._whole = hashlib.sha256()
        self._piece = self._whole

    def resume(self, limit: int) -> int:
        """Take up what an earlier try left, at most `limit` bytes; return how much that is."""
        try:
            handle = os.open(self.path, os.O_RDWR | _NOFOLLOW)
        except OSError:
            return 0
        file = os.fdopen(handle, "r+b", buffering=0)
        if os.fstat(handle).st_size > limit:
            file.close()
            return 0
        while data := file.read(_PIECE):
            self._whole.update(data)
            self.size += len(data)
        self._file = file
        # From here on the worker's hash is of what it sends, ours of the whole.
        self._piece = hashlib.sha256()
        return self.size

    def write(self, pieces: list[bytes]) -> None:
        """Add what arrived."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | _NOFOLLOW
            self._file = os.fdopen(os.open(self.path, flags, self._mode), "wb", buffering=0)
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[self._file.write(view) :]
            self._whole.update(piece)
            if self._piece is not self._whole:
                self._piece.update(piece)
            self.size += len(piece)

    def hashes(self) -> tuple[str, str]:
        """Return the sha256 of the whole file, and of what was added since it was taken up."""
        return self._whole.hexdigest(), self._piece.hexdigest()

    def close(self) -> None:
        """Close the file; what is in it stays for the next try."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def discard(self) -> None:
        """Close and remove the file."""
        self.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


def _owner(path: Path) -> str:
    # Its writer may be between making it and writing it.
    for _ in range(50):
        text = path.read_text(encoding="ascii", errors="replace")
        if text:
            return text
        time.sleep(0.02)
    return ""


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False
