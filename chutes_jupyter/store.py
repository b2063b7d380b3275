"""A cache of every job that this person has seen, shared by all our processes.

The worker's disk is the truth; this file only answers quickly, and while a worker is out of
reach. It can be deleted at any time. It never holds code, job data, results or environments.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from chutes_jupyter.config import state_dir
from chutes_jupyter.errors import ConfigError, JobNotFound
from chutes_jupyter.files import file_lock
from chutes_jupyter.models import TERMINAL
from chutes_jupyter.readings import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

FILE_NAME = "jobs.sqlite3"
#: Raised by one when the table changes; a file of any other version is made anew.
VERSION = 4
#: How long one process waits for another's write, in seconds.
BUSY_TIMEOUT = 10.0
_SHOWN_CANDIDATES = 8


@dataclass(frozen=True)
class JobRecord:
    """What this machine knows of one job.

    `state`, `started`, `ended` and `reason` are what the worker said in its event number
    `event` (0: it has said nothing yet), and `confirmed` is when it last said so. Times are
    seconds since the epoch: `created` by this machine's clock, the others by the worker's,
    `confirmed` by this machine's again. `root` is the worker's folder of jobs.
    """

    id: str
    name: str
    worker: str
    state: str = "pending"
    event: int = 0
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    reason: str | None = None
    notebook: str | None = None
    #: Which cell submitted it, by the id that the notebook's file keeps.
    cell: str | None = None
    output_dir: str | None = None
    ports: Sequence[Mapping[str, Any]] = field(default=(), hash=False)
    timeout: int | None = None
    upload: bool = True
    confirmed: float | None = None
    root: str | None = None
    #: How far it is, as it last said; not newer than `confirmed`.
    progress: Progress | None = None

    @property
    def label(self) -> str:
        """The id as it is shown and typed: ``train-3f9c2a``."""
        return f"{self.name}-{self.id[:6]}"

    @property
    def ended_for_good(self) -> bool:
        """Whether the state is a terminal one."""
        return self.state in TERMINAL


#: In the class `list` is its own method.
Records = list[JobRecord]

_COLUMNS = tuple(each.name for each in fields(JobRecord))
#: What this machine knows by itself; it needs no newer event to change.
_OWN = frozenset({"confirmed", "output_dir", "progress", "root"})
_TABLES = ("jobs", "told", "heard")
_CREATE = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, worker TEXT NOT NULL, state TEXT NOT NULL,
    event INTEGER NOT NULL, created REAL NOT NULL, started REAL, ended REAL, reason TEXT,
    notebook TEXT, cell TEXT, output_dir TEXT, ports TEXT NOT NULL, timeout INTEGER,
    upload INTEGER NOT NULL, confirmed REAL, root TEXT, progress TEXT
) WITHOUT ROWID;
CREATE INDEX newest ON jobs (created DESC, id);
CREATE TABLE told (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE heard (worker TEXT PRIMARY KEY, newest REAL NOT NULL) WITHOUT ROWID
"""


class Store:
    """The store's file, opened; any thread may use it.

    Parameters
    ----------
    path : Path
        The SQLite file; it is made, with its folder, where it is missing.
    patience : float
        How long to wait for another process's write, in seconds.
    """

    def __init__(self, path: Path, *, patience: float = BUSY_TIMEOUT) -> None:
        self.path = path
        self._patience = patience
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int, int] | None = None

    @classmethod
    def open(cls, path: Path | None = None) -> Store:
        """Return this person's store, or the one at `path`."""
        store = cls(path or state_dir() / FILE_NAME)
        store._run(lambda _connection: None)
        return store

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._opened and self._opened[0] == os.getpid():
                self._connection.close()
            self._connection = None

    def add(self, record: JobRecord) -> bool:
        """Record a job, unless it is known already; return whether it was new."""
        marks = ", ".join("?" * len(_COLUMNS))
        sql = f"INSERT OR IGNORE INTO jobs ({', '.join(_COLUMNS)}) VALUES ({marks})"  # noqa: S608
        return self._write(sql, [_stored(name, getattr(record, name)) for name in _COLUMNS])

    def merge(self, records: Iterable[JobRecord]) -> None:
        """Record what a worker said of jobs, known or not, all at once; old news change nothing."""
        marks = ", ".join("?" * len(_COLUMNS))
        said = ("event", "state", "started", "ended", "reason", "confirmed")
        sets = ", ".join(f"{name} = excluded.{name}" for name in said)
        sets += ", progress = coalesce(excluded.progress, progress)"
        sql = (
            f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({marks})"  # noqa: S608
            f" ON CONFLICT (id) DO UPDATE SET {sets} WHERE jobs.event < excluded.event"
        )
        same = (
            "UPDATE jobs SET confirmed = ?, root = ?, progress = coalesce(?, progress)"
            " WHERE id = ? AND event = ?"
        )
        rows = [[_stored(name, getattr(each, name)) for name in _COLUMNS] for each in records]
        at = {name: number for number, name in enumerate(_COLUMNS)}
        names = ("confirmed", "root", "progress", "id", "event")
        own = [[row[at[name]] for name in names] for row in rows]

        def write(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                connection.executemany(sql, rows)
                connection.executemany(same, own)

        if rows:
            self._run(write)

    def update(self, job: str, event: int, **changes: Any) -> bool:
        """Apply what event number `event` of a job says; return whether it was applied.

        A number that is not above the recorded one is old news, whoever brings it, and changes
        nothing; with an equal number only what this machine knows by itself does (`confirmed`,
        `output_dir`, `root`) or is told without a number (`progress`).
        """
        unknown = set(changes) - (set(_COLUMNS) - {"id", "event"})
        if unknown:
            raise TypeError(f"no such field of a job record: {', '.join(sorted(unknown))}")
        names = sorted(changes)
        values = [_stored(name, changes[name]) for name in names]
        sets = "".join(f", {name} = ?" for name in names)
        newer = f"UPDATE jobs SET event = ?{sets} WHERE id = ? AND event < ?"  # noqa: S608
        if self._write(newer, [event, *values, job, event]):
            return True
        own = [name for name in names if name in _OWN]
        if not own:
            return False
        sets = ", ".join(f"{name} = ?" for name in own)
        same = f"UPDATE jobs SET {sets} WHERE id = ? AND event = ?"  # noqa: S608
        return self._write(same, [*(_stored(name, changes[name]) for name in own), job, event])

    def settle(self, job: str, event: int, *, state: str, reason: str, ended: float) -> bool:
        """End a job by this machine's own knowledge; return whether that was applied.

        For what the worker can't tell itself: it was never reached, or it knows the job no
        more. Applied only if nothing newer than `event` is recorded and the job has not ended.
        A later event of the worker still wins.
        """
        sql = (
            "UPDATE jobs SET state = ?, reason = ?, ended = ? WHERE id = ? AND event = ?"
            " AND state NOT IN (SELECT value FROM json_each(?))"
        )
        return self._write(sql, [state, reason, ended, job, event, json.dumps(sorted(TERMINAL))])

    def remove(self, jobs: Iterable[str]) -> None:
        """Forget jobs here, all at once; the workers' files stay."""
        rows = [[job] for job in jobs]

        def write(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                connection.executemany("DELETE FROM told WHERE id = ?", rows)
                connection.executemany("DELETE FROM jobs WHERE id = ?", rows)

        if rows:
            self._run(write)

    # -- what was said already --------------------------------------------------------

    def heard(self, worker: str) -> float:
        """Return up to when a worker, named in full, has told of jobs that ended; or 0."""
        sql = "SELECT newest FROM heard WHERE worker = ?"
        row = self._run(lambda connection: connection.execute(sql, [worker]).fetchone())
        return float(row[0]) if row else 0.0

    def hear(self, worker: str, newest: float) -> None:
        """Record up to when a worker has told, by its own clock."""
        self._write("INSERT OR REPLACE INTO heard VALUES (?, ?)", [worker, newest])

    def news(self, notebook: str) -> Records:
        """Return the jobs of a notebook that live, or whose end was not told yet; newest first."""
        states = ", ".join(f"'{state}'" for state in sorted(TERMINAL))
        return self._read(
            f"WHERE notebook = ? AND (state NOT IN ({states})"  # noqa: S608 - our own words
            " OR id NOT IN (SELECT id FROM told)) ORDER BY created DESC, id",
            [notebook],
        )

    def tell(self, jobs: Iterable[str]) -> None:
        """Record that the end of these jobs was told."""
        rows = [[job] for job in jobs]
        sql = "INSERT OR IGNORE INTO told VALUES (?)"
        self._run(lambda connection: connection.executemany(sql, rows))

    # -- looking ----------------------------------------------------------------------

    def get(self, job: str) -> JobRecord:
        """Return the job with that full id, or raise `JobNotFound`."""
        found = self._read("WHERE id = ?", [job])
        if not found:
            raise JobNotFound(f"No job {job!r} is known here. `jupyter chute jobs` lists them.")
        return found[0]

    def find(self, text: str) -> JobRecord:
        """Return the one job whose id or label begins with `text`.

        Parameters
        ----------
        text : str
            ``train-3f9c2a``, a full id, or the beginning of either.

        Raises
        ------
        JobNotFound
            If there is none, or more than one: the message lists them.
        """
        wanted = text.strip()
        if not wanted:
            raise JobNotFound("A job's id is missing. `jupyter chute jobs` lists them.")
        where = (
            "WHERE substr(id, 1, length(:t)) = lower(:t)"
            " OR substr(name || '-' || id, 1, length(:t)) = :t"
        )
        found = self._read(f"{where} ORDER BY created DESC, id", {"t": wanted})
        if len(found) == 1:
            return found[0]
        if not found:
            raise JobNotFound(f"No job {text!r} is known here. `jupyter chute jobs` lists them.")
        raise JobNotFound(_ambiguous(text, found))

    def list(
        self,
        limit: int | None = None,
        *,
        notebook: str | None = None,
        worker: str | None = None,
        live: bool | None = None,
    ) -> Records:
        """Return jobs, the newest first.

        Parameters
        ----------
        limit : int, optional
            Not more than so many.
        notebook, worker : str, optional
            Only those of that notebook or worker.
        live : bool, optional
            Only those that have not ended (True) or have (False).
        """
        where, values = _filter(notebook, worker, live)
        tail = f"{where} ORDER BY created DESC, id LIMIT ?"
        return self._read(tail, [*values, -1 if limit is None else limit])

    def count(
        self,
        *,
        notebook: str | None = None,
        worker: str | None = None,
        live: bool | None = None,
    ) -> int:
        """Return how many jobs there are; the parameters are those of `list`."""
        where, values = _filter(notebook, worker, live)
        sql = f"SELECT count(*) FROM jobs {where}"  # noqa: S608
        return int(self._run(lambda connection: connection.execute(sql, values).fetchone()[0]))

    def _read(self, tail: str, values: Sequence[Any] | Mapping[str, Any]) -> Records:
        sql = f"SELECT {', '.join(_COLUMNS)} FROM jobs {tail}"  # noqa: S608
        rows = self._run(lambda connection: connection.execute(sql, values).fetchall())
        return [_record(row) for row in rows]

    def _write(self, sql: str, values: Sequence[Any]) -> bool:
        return bool(self._run(lambda connection: connection.execute(sql, values).rowcount > 0))

    def _run(self, action: Callable[[sqlite3.Connection], Any]) -> Any:
        """Run one statement, opening or making the file anew where that is what it needs."""
        with self._lock:
            for attempt in range(3):
                try:
                    return action(self._connected())
                except sqlite3.Error as error:
                    self.close()
                    if attempt == 2 or _is_busy(error):
                        raise ConfigError(f"{self.path}: can't be used: {error}.") from error
                    if _is_broken(error):
                        self._discard()
        raise AssertionError("unreachable")

    def _connected(self) -> sqlite3.Connection:
        # Another file in its place, or a fork of this process: what we hold open is not ours.
        if self._connection is not None and self._opened == self._identity():
            return self._connection
        self.close()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made by us before SQLite would make it readable to all; its journal takes its mode.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        identity = self._identity()
        connection = sqlite3.connect(
            self.path, timeout=self._patience, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection, self._opened = connection, identity
        return connection

    def _identity(self) -> tuple[int, int, int] | None:
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return None
        return os.getpid(), stat.st_dev, stat.st_ino

    def _discard(self) -> None:
        """Delete a file that is not a database, unless another process already has."""
        with file_lock(self.path.with_suffix(".lock")):
            if self._sound():
                return
            for suffix in ("", "-journal", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    self.path.with_name(self.path.name + suffix).unlink()

    def _sound(self) -> bool:
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT)
        try:
            connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM jobs LIMIT 0")  # noqa: S608
            verdict = connection.execute("PRAGMA quick_check").fetchone()
        except sqlite3.DatabaseError:
            return False
        finally:
            connection.close()
        return bool(verdict and verdict[0] == "ok")


def _filter(notebook: str | None, worker: str | None, live: bool | None) -> tuple[str, list[str]]:
    terms, values = ["1"], []
    for name, value in (("notebook", notebook), ("worker", worker)):
        if value is not None:
            terms.append(f"{name} = ?")
            values.append(value)
    if live is not None:
        states = ", ".join(f"'{state}'" for state in sorted(TERMINAL))
        terms.append(f"state {'NOT ' if live else ''}IN ({states})")
    return f"WHERE {' AND '.join(terms)}", values


def _prepare(connection: sqlite3.Connection) -> None:
    # No WAL: homes may be on NFS, where its shared memory does not work. No syncing: a file
    # that a power cut breaks is made anew, and a submit must not wait for the disk.
    connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    connection.execute("PRAGMA synchronous = OFF")
    if _version(connection) == VERSION:
        return
    with _transaction(connection):
        if _version(connection) == VERSION:
            return
        for table in _TABLES:
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in _CREATE.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _is_busy(error: sqlite3.Error) -> bool:
    return _primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL)


def _is_broken(error: sqlite3.Error) -> bool:
    primary = _primary_code(error)
    # SQLITE_ERROR: our version number, but not our table.
    return primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def _primary_code(error: sqlite3.Error) -> int:
    # Errors of the sqlite3 module itself carry no code.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _stored(name: str, value: Any) -> Any:
    if name == "ports":
        return json.dumps([dict(port) for port in value])
    if name == "progress" and value is not None:
        return json.dumps({**vars(value), "metrics": dict(value.metrics)})
    return value


def _record(row: tuple[Any, ...]) -> JobRecord:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["ports"] = tuple(json.loads(values["ports"]))
    values["upload"] = bool(values["upload"])
    if values["progress"] is not None:
        values["progress"] = Progress(**json.loads(values["progress"]))
    return JobRecord(**values)


def _ambiguous(text: str, found: Sequence[JobRecord]) -> str:
    shown = [f"{each.name}-{each.id} ({each.state})" for each in found[:_SHOWN_CANDIDATES]]
    if len(found) > len(shown):
        shown.append(f"… and {len(found) - len(shown)} more")
    lines = "\n  ".join(shown)
    return (
        f"{text!r} begins the ids of {len(found)} jobs; type more of the one you mean:\n  {lines}"
    )
