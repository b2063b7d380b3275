"""What lies on this machine for the door of one job, in a folder of our own state (0700).

A fragment of ssh_config, the job's host key as a known_hosts file, the key that was made for
the job if one was, and what the proxy needs to know. The fragment names the proxy as the way
to the host, so nothing of the person's own configuration is read by it, or changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from chutes_jupyter.config import Worker, state_dir
from chutes_jupyter.doorway import keys
from chutes_jupyter.errors import DoorShut
from chutes_jupyter.files import write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from chutes_jupyter.replies import DoorFacts

#: The agent's words for a job that will never be open again.
GONE = frozenset({"ended", "removed", "unknown_job"})
_PROXY = "chutes_jupyter.doorway.proxy"
#: What says where this person's configuration and state lie: a terminal may have others.
_PLACES = (
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_PLATFORM_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
)

_CONFIG = """\
# Made by chutes_jupyter; it goes when the job is removed.
Host {host}
    HostName {host}
    HostKeyAlias {host}
    User "{user}"
    ProxyCommand {proxy}
    UserKnownHostsFile "{known_hosts}"
    GlobalKnownHostsFile none
    StrictHostKeyChecking yes
    UpdateHostKeys no
    CheckHostIP no
    PreferredAuthentications publickey
{identities}
    IdentitiesOnly {only}
    ForwardAgent no
    ForwardX11 no
    ControlMaster no
    ControlPath none
    ServerAliveInterval 0
"""


@dataclass(frozen=True)
class Told:
    """What the proxy needs to know.

    Parameters
    ----------
    job, label : str
        The job's id, and how it is shown.
    worker : Worker
        Where it runs; without its jobs' environment, which may hold secrets.
    keys : tuple of str
        The public keys that may come in, where the job was submitted with none.
    """

    job: str
    label: str
    worker: Worker
    keys: tuple[str, ...]


class DoorFolder:
    """The files of one job's door.

    Parameters
    ----------
    path : Path
        The folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config"
        self._told = path / "door.json"
        self._known_hosts = path / "known_hosts"
        self._identity = path / "identity"
        self._given = path / "given.pub"

    @classmethod
    def of(cls, job: str, label: str) -> DoorFolder:
        """Return the folder of a job, by its id and label."""
        # The label is the host's name, too: what other letters mean there is ssh's own matter.
        name = label if label.isascii() else f"job-{job[:6]}"
        return cls(state_dir() / "doors" / f"{name}-{job[6:12]}")

    @property
    def host(self) -> str:
        """What the job is called as a host."""
        return self.path.name.rpartition("-")[0]

    @property
    def words(self) -> list[str]:
        """The command that opens the door; a command for the job may be appended."""
        return ["ssh", "-F", str(self.config), self.host]

    @property
    def command(self) -> str:
        """The same, as a line for a terminal."""
        return subprocess.list2cmdline(self.words) if _WINDOWS else shlex.join(self.words)

    def write(self, job: str, label: str, worker: Worker, facts: DoorFacts) -> None:
        """Put everything in place, for a door of which the worker told those facts.

        Raises
        ------
        ConfigError
            If a key is needed and can't be made.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        public, identities, only = self._keys(label, facts.keys)
        told = {
            "job": job,
            "label": label,
            "worker": {k: v for k, v in asdict(worker).items() if k != "env"},
            "keys": public,
            "places": {name: os.environ[name] for name in _PLACES if name in os.environ},
        }
        write_private(self._told, json.dumps(told, indent=1).encode("utf-8"))
        write_private(self._known_hosts, f"{self.host} {facts.host_key}\n".encode("ascii"))
        config = _CONFIG.format(
            host=self.host,
            user=facts.user.replace("\\", "\\\\"),
            proxy=_line([sys.executable, "-P", "-m", _PROXY, str(self.path)]),
            known_hosts=_quoted(self._known_hosts),
            identities="\n".join(f'    IdentityFile "{_quoted(path)}"' for path in identities),
            only="yes" if only else "no",
        )
        write_private(self.config, config.encode("utf-8"))

    def _keys(self, label: str, given: Sequence[str]) -> tuple[list[str], list[Path], bool]:
        """Return the public keys to let in, the files to log in with, and whether no others."""
        if given:
            # The agent of the person picks its key by the public part; any other may be it, too.
            write_private(self._given, "".join(f"{line}\n" for line in given).encode("utf-8"))
            return [], [*keys.identities(given), self._given], False
        if (found := keys.default_key()) is not None:
            return [found[0]], [found[1]], True
        return [keys.make_key(self._identity, label)], [self._identity], True

    def read(self) -> Told:
        """Return what the proxy needs to know, in the surroundings in which it was written.

        Raises
        ------
        DoorShut
            If it can't be read.
        """
        try:
            told: dict[str, Any] = json.loads(self._told.read_text(encoding="utf-8"))
            os.environ.update(told["places"])
            worker = Worker(**told["worker"])
            return Told(told["job"], told["label"], worker, tuple(told["keys"]))
        except (OSError, ValueError, TypeError, KeyError) as error:
            again = "ask for job.ssh_command again"
            raise DoorShut(
                f"The door in {self.path} can't be opened ({error}): {again}."
            ) from error

    def forget_key(self) -> None:
        """Remove the key that was made for the job: it has ended."""
        for path in (self._identity, self._identity.with_suffix(".pub")):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove everything."""
        with contextlib.suppress(OSError):
            for path in self.path.iterdir():
                path.unlink(missing_ok=True)
            self.path.rmdir()


def sweep(known: Callable[[str], bool | None]) -> None:
    """Remove the folders of jobs that are gone, and the keys of those that have ended.

    Parameters
    ----------
    known : callable
        Returns for a job's id whether it lives; None where there is no such job any more.
    """
    with contextlib.suppress(OSError):
        for path in (state_dir() / "doors").iterdir():
            folder = DoorFolder(path)
            try:
                job = json.loads(folder._told.read_text(encoding="utf-8"))["job"]
            except (OSError, ValueError, TypeError, KeyError):
                continue  # it is just being written
            lives = known(job)
            if lives is None:
                folder.remove()
            elif not lives:
                folder.forget_key()


_WINDOWS = sys.platform == "win32"


def _line(words: Sequence[str]) -> str:
    """Return words as the value of ProxyCommand, which a shell reads."""
    line = subprocess.list2cmdline(words) if _WINDOWS else shlex.join(words)
    return line.replace("%", "%%")


def _quoted(path: Path) -> str:
    return path.as_posix().replace("%", "%%")
