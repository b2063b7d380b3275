"""The outputs and ports of a job, as a person looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chutes_jupyter import portal
from chutes_jupyter.client.words import closed
from chutes_jupyter.models import SSH_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chutes_jupyter.client.hub import JobClient
    from chutes_jupyter.client.live import Live
    from chutes_jupyter.mirror import FileView, MirrorStatus
    from chutes_jupyter.models import Port
    from chutes_jupyter.ports import Forward

    Followed = Callable[[], JobClient]

#: How long `.url` waits for a job's web server to listen, in seconds.
_PORT_PATIENCE = 60.0


class MirrorView:
    """How far the outputs of a job are here.

    Parameters
    ----------
    live : Live
        Whose outputs.
    followed : callable
        Returns the client, which follows the job from then on.
    """

    def __init__(self, live: Live, followed: Followed) -> None:
        self._live, self._followed = live, followed

    @property
    def status(self) -> MirrorStatus:
        """Everything in one piece."""
        return self._live.mirror

    @property
    def state(self) -> str:
        """`arriving`, `complete` or `stopped`."""
        return self.status.state

    @property
    def reason(self) -> str | None:
        """Why it stopped, or what it waits for."""
        return self.status.reason

    @property
    def done(self) -> int:
        """How many bytes are here."""
        return self.status.done

    @property
    def total(self) -> int:
        """How many bytes all files have together."""
        return self.status.total

    @property
    def files(self) -> Sequence[FileView]:
        """The files as they were last listed; never waits."""
        return self._live.list_files()

    def resume(self, limit: int | None = None) -> None:
        """Bring what is left on the worker, and what was deleted here.

        Parameters
        ----------
        limit : int, optional
            The most bytes that all files together may have; without one, all are brought.
        """
        portal.call(self._followed().mirror_again, self._live, limit)

    def __repr__(self) -> str:
        status = self.status
        text = f"{status.state}: {status.files_done} of {status.files_total} files"
        text += f", {status.done:,} of {status.total:,} bytes"
        return f"<outputs of {self._live.label} {text}" + (
            f" ({status.reason})>" if status.reason else ">"
        )


class PortView:
    """One port of a job, seen from this machine.

    Parameters
    ----------
    port : Port
        As it is declared.
    live : Live
        The job.
    followed : callable
        Returns the client, which follows the job from then on.
    """

    def __init__(self, port: Port, live: Live, followed: Followed) -> None:
        self._live, self._followed = live, followed
        self.name, self.port, self.proto = port.name, port.port, port.proto

    @property
    def ready(self) -> bool:
        """Whether the job's server has answered, so that `url` is there at once."""
        return self.name in self._live.ready_ports and not self._live.terminal

    @property
    def url(self) -> str | None:
        """The address to open; waits, for a web server, until it listens.

        None where there is no door to here (see `notice`), and when the job has ended.
        """
        url = self._forward().url
        return url.rstrip("/") if url else None

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to connect to; as `url`."""
        return self._forward().address

    @property
    def notice(self) -> str:
        """Why there is no door to here, or an empty text; for SSH the command that opens it."""
        if self.port == SSH_PORT:
            if self._live.terminal:
                return closed(self._live)
            return f"in a terminal: jupyter chute ssh {self._live.label}"
        return self._followed().forward_now(self._live, self.name).notice

    def _forward(self) -> Forward:
        client = self._followed()
        if self.ready or self._live.terminal:
            return client.forward_now(self._live, self.name)
        return portal.call(client.forward, self._live, self.name, _PORT_PATIENCE)

    def __repr__(self) -> str:
        where = self.notice if self.port == SSH_PORT else self.url if self.ready else ""
        return f"<port {self.name}: {self.port}/{self.proto}{f', {where}' if where else ''}>"
