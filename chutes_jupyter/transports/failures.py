"""What to say of a connection that could not be made: what happened, and what to do next."""

from __future__ import annotations

from chutes_jupyter.errors import (
    ConnectFailed,
    ForwardingRefused,
    HostKeyError,
    LoginFailed,
    LoginNeeded,
)

#: SSH's code for a channel that the server's settings forbid.
_PROHIBITED = 1


def login_refused(_error: Exception, where: str) -> ConnectFailed:
    """Say that no key was taken."""
    return LoginFailed(
        f"{where} refused the login: it takes none of the keys that were offered. Passwords are "
        "not asked for here. Give the host your public key (ssh-copy-id), name the right "
        "IdentityFile and User in ~/.ssh/config, and unlock keys with a passphrase by ssh-add."
    )


def login_needed(what: str, where: str, worker: str) -> LoginNeeded:
    """Say that somebody must log in by hand, and how.

    Parameters
    ----------
    what : str
        What the host, or a key file, asks for.
    where : str
        Names the worker.
    worker : str
        The worker's name.
    """
    agent = " (or unlock the key with ssh-add)" if what.startswith("the passphrase") else ""
    return LoginNeeded(
        f"Login needed: {where} asks for {what}. Log in once, for all your notebooks and "
        f"terminals, with:  jupyter chute worker login {worker}  or, in a notebook,  "
        f"%chute worker login {worker}{agent}"
    )


def bad_key(error: Exception, where: str) -> ConnectFailed:
    """Say that a key file is of no use."""
    return LoginFailed(
        f"{where}: a key file that ~/.ssh/config or ~/.ssh names can't be used: {error}"
    )


def no_name(error: Exception, where: str) -> ConnectFailed:
    """Say that the host's name leads nowhere."""
    reason = getattr(error, "strerror", None) or error
    return ConnectFailed(
        f"{where}: its host name can't be resolved ({reason}). Check HOST and ~/.ssh/config."
    )


def no_answer(_error: Exception, where: str) -> ConnectFailed:
    """Say that nothing answers."""
    return ConnectFailed(
        f"{where} did not answer in time. Is it on, and reachable from here? "
        "ConnectTimeout in ~/.ssh/config gives it longer."
    )


def refused(_error: Exception, where: str) -> ConnectFailed:
    """Say that nothing listens."""
    return ConnectFailed(f"{where} refused the connection: no sshd listens on that port.")


def by_the_jump_host(error: Exception, where: str) -> ConnectFailed:
    """Say that the jump host found no way on."""
    prohibited = getattr(error, "code", None) == _PROHIBITED
    return jump_failed(str(getattr(error, "reason", error)), where, prohibited=prohibited)


def jump_failed(reason: str, where: str, *, prohibited: bool) -> ConnectFailed:
    """Say why the jump host found no way on, or that its settings forbid it."""
    if prohibited:
        return ConnectFailed(
            f"{where}: the jump host opens no connections: its sshd_config says "
            "AllowTcpForwarding no, DisableForwarding yes or a PermitOpen that leaves this out."
        )
    return ConnectFailed(f"{where}: the jump host could not connect to it: {reason}.")


def forwards_nothing(where: str) -> ForwardingRefused:
    """Say that the server opens no connections to ports."""
    return ForwardingRefused(
        f"{where} opens no connections to ports: its sshd_config says AllowTcpForwarding no, "
        "DisableForwarding yes or a PermitOpen that leaves them out."
    )


def unverified(error: Exception, where: str) -> ConnectFailed:
    """Say that the host could not prove who it is."""
    reason = getattr(error, "reason", error)
    return HostKeyError(f"{where}: its host key could not be confirmed: {reason}.")


def broken_off(error: Exception, where: str) -> ConnectFailed:
    """Say that the connection ended early."""
    reason = getattr(error, "reason", None) or error
    return ConnectFailed(f"{where}: the connection failed before the login was done: {reason}.")


def bad_settings(error: Exception, where: str) -> ConnectFailed:
    """Say that the configuration is wrong."""
    return ConnectFailed(f"{where}: the settings for its host can't be used: {error}")


def no_way(error: Exception, where: str) -> ConnectFailed:
    """Say why the system finds no way to the host."""
    if getattr(error, "filename", None):
        return bad_key(error, where)
    reason = getattr(error, "strerror", None) or error
    return ConnectFailed(f"{where} can't be reached: {reason}.")
