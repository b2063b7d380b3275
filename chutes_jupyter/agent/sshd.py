"""The SSH server of one session in a job: its keys and configuration, and whether it would start.

Nothing listens: the server is an ``sshd -i`` on the pipes of a channel of the worker's own
connection. Its host key is the job's, made when somebody first asks for it; who may come in is
said anew for each session, in a folder of its own. Nobody's ``~/.ssh`` is read or written.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from typing import Any, Dict, List, Optional

from . import journal, logind
from .doors import description, ended_as, ended_mark, farewell, label_of, sessions
from .journal import EventLog, JobDir, write_bytes

_OPEN = frozenset({"starting", "running", "cancelling"})
_OVER = journal.TERMINAL | {"collecting"}
#: How long a program of OpenSSH may take to look at its configuration, in seconds.
_CHECK = 20.0
_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/sbin", "/opt/homebrew/sbin", "/usr/bin")
_SFTP_SERVERS = (
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/sftp-server",
    "/usr/local/libexec/sftp-server",
)
_KEY = re.compile(r"[a-z0-9@.-]{1,64} [A-Za-z0-9+/]{16,20000}={0,2}( [^\x00-\x1f\x7f]{0,500})?\Z")
_NO_PRIVSEP = re.compile(r"Missing privilege separation directory: (/\S+)")

_CONFIG = """\
HostKey "{host_key}"
AuthorizedKeysFile "{authorized}"
AuthenticationMethods publickey
PasswordAuthentication no
PermitRootLogin prohibit-password
UsePAM {pam}
StrictModes no
AllowUsers "{user}"
MaxAuthTries 20
LoginGraceTime 60
PidFile none
UseDNS no
LogLevel ERROR
PermitTTY {tty}
PrintMotd no
PrintLastLog no
PermitUserRC no
PermitUserEnvironment no
X11Forwarding no
AllowAgentForwarding no
PermitTunnel no
GatewayPorts no
AllowTcpForwarding local
AllowStreamLocalForwarding local
PermitOpen localhost:* 127.0.0.1:* [::1]:*
Subsystem sftp {sftp}
ForceCommand {command}
"""


class Shut(Exception):
    """There is no way in: a word for programs and a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def ask(job: JobDir, code: str) -> Dict[str, Any]:
    """Return what a client needs to know of the door, having tried everything but a session.

    Parameters
    ----------
    code : str
        The folder that holds the agent's package.

    Returns
    -------
    dict
        ``user``, ``host_key`` (its public part), and ``keys``: the public keys that the job
        was submitted with, or none.

    Raises
    ------
    Shut
        If there is no way in, with what to do instead.
    """
    with contextlib.closing(Session(job, [], code)) as session:
        return session.facts


class Session:
    """What one session needs, in a folder of its own that is there as long as the session.

    Parameters
    ----------
    keys : list of str
        The public keys that may come in, where the job was submitted with none.
    code : str
        The folder that holds the agent's package.

    Raises
    ------
    Shut
        If there is no way in.
    """

    def __init__(self, job: JobDir, keys: List[str], code: str) -> None:
        spec = job.read_spec()
        self.label = label_of(job, spec)
        _check_open(job, spec, self.label)
        self.sshd = _find_sshd()
        try:
            self.folder = tempfile.mkdtemp(prefix="s", dir=sessions(job))
        except FileNotFoundError:  # it has just been removed
            raise Shut("ended", farewell(self.label, None)) from None
        try:
            # Again, now that the end of the job waits for us: it may just have begun.
            _check_open(job, spec, self.label)
            given = [line for line in (spec.get("ssh_public_key") or "").splitlines() if line]
            host_key = _host_key(job)
            self.config = self._write_config(job, given or keys, host_key, code)
            self._check()
            with open(host_key + ".pub") as file:
                public = " ".join(file.read().split()[:2])
            self.facts = {"user": logind.user_name(), "host_key": public, "keys": given}
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the folder: the session is over."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_config(self, job: JobDir, keys: List[str], host_key: str, code: str) -> str:
        authorized = os.path.join(self.folder, "authorized_keys")
        for line in keys:
            if not isinstance(line, str) or not _KEY.match(line):
                raise Shut("bad_key", "not a public key: %.80r" % (line,))
        write_bytes(authorized, "".join(line + "\n" for line in keys).encode("utf-8"))
        begin = os.path.join(self.folder, "begin.py")
        text = "import sys\nsys.path.insert(0, %r)\n" % code
        tty = _gives_terminals()
        text += "from chutes_jupyter.agent.session import main\nmain(%r, %r)\n" % (job.path, tty)
        write_bytes(begin, text.encode("utf-8", "backslashreplace"))
        words = ["exec", sys.executable, "-I", "-S", begin]
        user = logind.user_name()
        sftp = next(filter(os.path.exists, _SFTP_SERVERS), "sftp-server")
        config = _CONFIG.format(
            host_key=host_key,
            authorized=authorized.replace("%", "%%"),
            pam="yes" if os.getuid() == 0 and _locked(user) else "no",
            user=user,
            tty="yes" if tty else "no",
            sftp=sftp,
            command=" ".join(map(shlex.quote, words)),
        )
        path = os.path.join(self.folder, "sshd_config")
        write_bytes(path, config.encode("utf-8", "surrogateescape"))
        return path

    def _check(self) -> None:
        """Raise unless sshd would start, having made the folder that it may miss after a boot."""
        said = self._try()
        missing = _NO_PRIVSEP.search(said or "")
        if missing:
            try:
                os.makedirs(missing.group(1), mode=0o755)
                os.chmod(missing.group(1), 0o755)  # noqa: S103 - as sshd wants it
            except OSError as error:
                raise Shut(
                    "no_sshd",
                    "sshd needs the folder %s on the worker, which can't be made (%s): have it "
                    "made there" % (missing.group(1), error.strerror),
                ) from error
            said = self._try()
        if said is not None:
            raise Shut("no_sshd", "sshd does not start on the worker: %s" % said[-1000:])

    def _try(self) -> Optional[str]:
        """Return why sshd would not start, or None."""
        try:
            done = subprocess.run(
                [self.sshd, "-t", "-f", self.config],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_CHECK,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
        return done.stdout.decode("utf-8", "replace").strip() if done.returncode else None


def _check_open(job: JobDir, spec: Dict[str, Any], label: str) -> None:
    if not spec.get("ssh"):
        raise Shut("no_door", "%s was not declared with ssh=True: submit it with that" % label)
    log = EventLog(job)
    log.refresh()
    state = log.state
    if state in _OVER or os.path.exists(ended_mark(job)):
        raise Shut("ended", farewell(label, state if state in journal.TERMINAL else ended_as(job)))
    described = os.path.exists(description(job))
    if state in ("running", "cancelling") and not described:
        raise Shut(
            "no_door",
            "%s has no door: an older chutes_jupyter started it, or the worker's disk was full "
            "when it started" % label,
        )
    if state not in _OPEN or not described:
        raise Shut("not_open", "%s has not started yet: its door opens when it does" % label)


def _find_sshd() -> str:
    # sshd insists on an absolute path.
    path = os.pathsep.join([*_FOLDERS, os.environ.get("PATH", "")])
    found = shutil.which("sshd", path=path)
    if found is None:
        raise Shut(
            "no_sshd",
            "this worker has no sshd program, which ssh=True needs: install OpenSSH's server "
            "there (apt install openssh-server; it need not run). Until then there are the log "
            "(jupyter chute logs -f JOB) and the job's own ports (job.ports)",
        )
    return os.path.abspath(found)


def _host_key(job: JobDir) -> str:
    """Return the job's host key, made by whoever asks first."""
    folder = os.path.join(job.door, "host")
    path = os.path.join(folder, "key")
    if os.path.exists(path):
        return path
    keygen = shutil.which("ssh-keygen")
    if keygen is None:
        raise Shut(
            "no_sshd", "this worker has no ssh-keygen, which ssh=True needs: install OpenSSH"
        )
    beside = tempfile.mkdtemp(prefix="new", dir=job.door)
    words = [keygen, "-q", "-t", "ed25519", "-N", "", "-C", job.id[:6]]
    try:
        subprocess.run(
            [*words, "-f", os.path.join(beside, "key")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=_CHECK,
        )
        os.rename(beside, folder)
    except subprocess.SubprocessError as error:
        raise Shut("no_sshd", "ssh-keygen fails on the worker: %s" % error) from error
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        # Somebody else was faster: there is one key, whoever asks.
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return path


def _gives_terminals() -> bool:
    """Whether sshd, which insists on a terminal's group, could have one made like that.

    Otherwise it would close the connection of whoever asks for one.
    """
    if os.getuid() == 0:
        return True
    try:
        group = grp.getgrnam("tty").gr_gid
        ends = os.openpty()
    except (KeyError, OSError):
        return True  # whatever it makes of that
    try:
        return os.fstat(ends[1]).st_gid == group
    finally:
        for fd in ends:
            os.close(fd)


def _locked(user: str) -> bool:
    """Whether the account has no password at all, which sshd takes for closed without PAM."""
    try:
        with open("/etc/shadow") as file:
            fields = [line.split(":") for line in file]
    except OSError:
        return False
    return any(row[0] == user and row[1].startswith("!") for row in fields if len(row) > 1)
