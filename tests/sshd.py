"""OpenSSH's own sshd, on a loopback port, with its own keys and configuration."""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.freeport import free_port

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"

# Of a setting that is given twice the first counts.
CONFIG = """\
{extra}
Port {port}
ListenAddress 127.0.0.1
{host_keys}
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding yes
UseDNS no
PrintMotd no
MaxStartups 200
LogLevel VERBOSE
Subsystem sftp internal-sftp
{set_env}
"""


@dataclass
class Sshd:
    """A running sshd. Everything it has lies in `folder`, which is readable by every user."""

    folder: Path
    port: int
    user: str
    extra: str = ""
    env: dict[str, str] = field(default_factory=dict)
    host_key_kinds: tuple[str, ...] = ("ed25519",)
    within: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls,
        *,
        user: str | None = None,
        extra: str = "",
        env: dict[str, str] | None = None,
        host_key_kinds: tuple[str, ...] = ("ed25519",),
        within: tuple[str, ...] = (),
    ) -> Sshd:
        """Start one for `user` (this one's, unless told), with extra lines of sshd_config.

        `env` is set in every session; HOME is a folder of its own, unless `user` is given.
        `within` is a command that runs it in other surroundings.
        """
        folder = Path(tempfile.mkdtemp(prefix="chutes-sshd-"))
        folder.chmod(0o755)
        environment = dict(env or {})
        if user is None:
            (folder / "home").mkdir()
            environment = {"HOME": str(folder / "home"), **environment}
        server = cls(
            folder, 0, user or getpass.getuser(), extra, environment, tuple(host_key_kinds), within
        )
        make_key(server.identity)
        for kind in host_key_kinds:
            make_key(server.host_key(kind), kind)
        shutil.copy(f"{server.identity}.pub", folder / "authorized_keys")
        (folder / "authorized_keys").chmod(0o644)
        server.run()
        return server

    def run(self) -> None:
        """Start it, again on the same port if it had one."""
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        for _ in range(10):
            port = self.port or free_port()
            self._configure(port)
            with (self.folder / "sshd.log").open("ab") as log:
                # -D: in the foreground; -e: log to stderr
                command = [*self.within, SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
                self.process = subprocess.Popen(command, stdout=log, stderr=log)
            if answers(port, self.process):
                self.port = port
                return
            self.stop()
        raise RuntimeError(f"sshd does not start:\n{self.log}")

    def _configure(self, port: int) -> None:
        text = CONFIG.format(
            port=port,
            folder=self.folder,
            extra=self.extra,
            host_keys="\n".join(f"HostKey {self.host_key(kind)}" for kind in self.host_key_kinds),
            set_env="SetEnv " + " ".join(f'{key}="{value}"' for key, value in self.env.items())
            if self.env
            else "",
        )
        file = self.folder / "sshd_config"
        # Newer versions lock out an address after failed logins, which some tests are about.
        file.write_text(text + "PerSourcePenalties no\n")
        checked = subprocess.run([SSHD, "-t", "-f", str(file)], capture_output=True, check=False)
        if b"PerSourcePenalties" in checked.stderr:
            file.write_text(text)

    @property
    def host(self) -> str:
        return f"{self.user}@127.0.0.1:{self.port}"

    @property
    def identity(self) -> Path:
        return self.folder / "identity"

    def host_key(self, kind: str = "ed25519") -> Path:
        return self.folder / f"host_{kind}"

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.host_key(self.host_key_kinds[0]))

    @property
    def known_hosts_line(self) -> str:
        return known_hosts_line(self.port, self.host_key(self.host_key_kinds[0]))

    @property
    def log(self) -> str:
        return (self.folder / "sshd.log").read_text(errors="replace")

    def config(self, alias: str, known_hosts: Path, *lines: str) -> str:
        """Return the section of an ssh_config that makes `alias` this server."""
        return "\n    ".join(
            [
                f"Host {alias}",
                "HostName 127.0.0.1",
                f"Port {self.port}",
                f"User {self.user}",
                f"IdentityFile {self.identity}",
                "IdentitiesOnly yes",
                f"UserKnownHostsFile {known_hosts}",
                *lines,
                "\n",
            ]
        )

    def renew_host_key(self, kind: str = "ed25519") -> None:
        """Give the server another host key, and start it again."""
        self.stop()
        for file in (self.host_key(kind), Path(f"{self.host_key(kind)}.pub")):
            file.unlink()
        make_key(self.host_key(kind), kind)
        self.run()

    def drop(self) -> None:
        """Cut every connection, as a crash would; the listener stays."""
        for pid in children(self.process.pid if self.process else 0):
            kill_tree_of_sshd(pid)

    def stop(self) -> None:
        """Stop listening and cut every connection; `run` starts it again."""
        if self.process is not None:
            self.drop()
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def switch_off(self) -> None:
        """Stop it at once: it takes no connection while the present ones are cut."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        self.drop()
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def remove(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Whether *this* sshd greets on the port, within some seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as s:
            s.settimeout(2)
            if s.recv(4) == b"SSH-":
                return process.poll() is None
        time.sleep(0.02)
    return False


def make_key(path: Path, kind: str = "ed25519", comment: str = "chutes-tests") -> Path:
    """Make a key pair without a passphrase."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", comment, "-f", str(path)], check=True
    )
    return path


def fingerprint(key: Path) -> str:
    """Return the fingerprint of a public key, as ssh-keygen tells it."""
    command = ["ssh-keygen", "-lf", f"{key}.pub"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()[1]


def known_hosts_line(port: int, key: Path, name: str = "127.0.0.1") -> str:
    kind, blob = Path(f"{key}.pub").read_text().split()[:2]
    return f"[{name}]:{port} {kind} {blob}\n"


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                # The command name stands in brackets and may hold spaces; the parent's id is
                # the second word after it.
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
    return found


def kill_tree_of_sshd(pid: int) -> None:
    """Kill a connection's sshd processes, but none of the commands that it started."""
    with contextlib.suppress(OSError):
        if "sshd" in Path(f"/proc/{pid}/comm").read_text():
            below = children(pid)
            os.kill(pid, signal.SIGKILL)
            for child in below:
                kill_tree_of_sshd(child)


@dataclass
class User:
    """An ordinary user, made for the tests."""

    name: str
    home: Path

    @classmethod
    def create(cls) -> User:
        """Make one, with a home that is removed with it. Needs root."""
        remove_leftovers()
        home = Path(tempfile.mkdtemp(prefix="chutes-home-"))
        name = f"chutes-{os.getpid()}-{secrets.token_hex(3)}"
        # "*" is no password, but unlike useradd's own "!" it does not lock the account.
        account(
            "useradd", "--no-create-home", "--home-dir", str(home), "--password", "*",
            "--shell", "/bin/sh", name,
        )  # fmt: skip
        entry = pwd.getpwnam(name)
        os.chown(home, entry.pw_uid, entry.pw_gid)
        return cls(name, home)

    @property
    def uid(self) -> int:
        return pwd.getpwnam(self.name).pw_uid

    def processes(self) -> list[int]:
        """Return the ids of all processes of this user."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if entry.stat().st_uid == self.uid:
                        found.append(int(entry.name))
        return found

    def remove(self) -> None:
        """End what the user still runs, and remove the account and its home."""
        deadline = time.monotonic() + 10
        while (running := self.processes()) and time.monotonic() < deadline:
            for pid in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        account("userdel", self.name)
        shutil.rmtree(self.home, ignore_errors=True)


def remove_leftovers() -> None:
    """Remove the users of test runs that were killed before they could."""
    for entry in pwd.getpwall():
        maker = re.fullmatch(r"chutes-(\d+)-[0-9a-f]{6}", entry.pw_name)
        if maker and not Path(f"/proc/{maker[1]}").exists():
            with contextlib.suppress(RuntimeError, KeyError):  # another run is at it, too
                User(entry.pw_name, Path(entry.pw_dir)).remove()


def account(*command: str, given: str = "") -> None:
    """Change an account, waiting for the lock that another test process may hold.

    Parameters
    ----------
    *command : str
        useradd, usermod, userdel or chpasswd, with its words.
    given : str
        What it reads.
    """
    deadline = time.monotonic() + 30
    while True:
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if "lock" not in done.stderr or time.monotonic() > deadline:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        time.sleep(0.1)
