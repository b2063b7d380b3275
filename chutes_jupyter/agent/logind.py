"""What becomes of a person's processes at logout, and how a job gets away from that.

With ``KillUserProcesses=yes`` systemd-logind ends everything of a login when it ends, however
well it detached itself. What runs in a scope of the person's own service manager stays, as
long as that manager does: until the last login ends, or for good where the person lingers.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import Any, Dict, List, Optional

from . import processes

_SCOPE = ("systemd-run", "--user", "--scope", "--quiet", "--")
_SETTINGS = ("KillUserProcesses", "KillOnlyUsers", "KillExcludeUsers")
#: A bus that hangs must not hold the first job for longer, in seconds.
_PATIENCE = 3.0


class Logout:
    """What logind does at the end of this login; asked in the background, from now on."""

    def __init__(self) -> None:
        self._user = user_name()
        self._asked = _ask("show-session", *_SETTINGS) if _in_session() else None
        self._kills: Optional[bool] = None
        self._scope: Optional[bool] = None

    @property
    def kills(self) -> bool:
        """Whether the processes of this login end with it."""
        if self._kills is None:
            said = _answer(self._asked)
            self._asked = None
            only = said.get("KillOnlyUsers", "").split()
            self._kills = (
                said.get("KillUserProcesses") == "yes"
                and self._user not in said.get("KillExcludeUsers", "").split()
                and (not only or self._user in only)
            )
        return self._kills

    @property
    def prefix(self) -> List[str]:
        """What to put before a command whose processes shall stay; empty if nothing helps."""
        if self._scope is None:
            self._scope = self.kills and _works([*_SCOPE, "true"])
        return list(_SCOPE) if self._scope else []

    def warning(self) -> Optional[str]:
        """Return when jobs would be ended and what helps; None if they go on."""
        if not self.kills:
            return None
        scoped = bool(self.prefix)
        if scoped and _answer(_ask("show-user", "Linger", whom=self._user)).get("Linger") == "yes":
            return None
        when = "the last login of %s there" % self._user if scoped else "this login"
        return (
            "logind ends jobs when %s ends (KillUserProcesses=yes); let them go on with: "
            "loginctl enable-linger %s" % (when, self._user)
        )

    def close(self) -> None:
        """Forget the question, if it was not answered yet."""
        _answer(self._asked, patience=0.0)
        self._asked = None


def user_name() -> str:
    """Return this user's name, or the number where there is none."""
    return processes.user_name(os.getuid())


def _in_session() -> bool:
    """Whether logind counts this process to a login."""
    if os.environ.get("XDG_SESSION_ID"):
        return True
    try:
        with open("/proc/self/cgroup") as file:
            return "/session-" in file.read()
    except OSError:  # not Linux
        return False


def _ask(verb: str, *names: str, whom: Optional[str] = None) -> "Optional[subprocess.Popen[str]]":
    words = ["loginctl", verb, *([whom] if whom else [])]
    words += [word for name in names for word in ("-p", name)]
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
        )
    except OSError:  # no logind here
        return None


def _answer(
    asked: "Optional[subprocess.Popen[str]]", patience: float = _PATIENCE
) -> Dict[str, str]:
    """Return the properties that loginctl said; none if it did not in time."""
    if asked is None:
        return {}
    text = ""
    try:
        text = asked.communicate(timeout=patience)[0]
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            asked.kill()
        asked.communicate()
    pairs = [line.partition("=") for line in text.splitlines()]
    return {name.strip(): value.strip() for name, _, value in pairs}


def _works(command: List[str]) -> bool:
    """Whether a command can be run at all."""
    quiet: Dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    try:
        return subprocess.run(command, timeout=_PATIENCE, check=False, **quiet).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
