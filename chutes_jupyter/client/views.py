"""The outputs and ports of a job, as a person looks at them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NoReturn

from chutes_jupyter import portal
from chutes_jupyter.client.words import closed
from chutes_jupyter.errors import ForwardFailed, WaitTimeout
from chutes_jupyter.models import SSH_PORT
from chutes_jupyter.places import Place
from chutes_jupyter.ports import url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from chutes_jupyter.client.doors import AnyForward, Door
    from chutes_jupyter.client.hub import JobClient
    from chutes_jupyter.client.live import Live
    from chutes_jupyter.mirror import FileView, MirrorStatus
    from chutes_jupyter.models import Port
    from chutes_jupyter.relay import Dropped

    Followed = Callable[[], JobClient]

#: How long `.url` waits for a job's web server to answer, in seconds.
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
        """Whether the job's server has answered, so that `url` is there at once.

        A web server is asked until it answers anything, an error included. A tcp server is
        not: it may be one that takes a single connection. It counts as ready once somebody
        connected to it, or `wait_ready` did. A udp port is ready when datagrams can pass.
        """
        return self.name in self._live.ready_ports and not self._live.terminal

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until the job's server answers: http something, tcp a connection of ours.

        Parameters
        ----------
        timeout : float, optional
            For how many seconds at the most.

        Raises
        ------
        WaitTimeout
            If that took longer; the job goes on.
        ForwardFailed
            If the job ended before, or the port has no door here.
        """
        client = self._followed()
        if self.notice and self.proto != "udp":  # there it may go by
            raise ForwardFailed(self.notice)
        try:
            portal.wait(portal.spawn(client.port_ready, self._live, self.name), timeout)
        except TimeoutError:
            what = {"http": "answered", "tcp": "taken a connection"}.get(self.proto, "been reached")
            raise WaitTimeout(
                f"Port {self.name} of {self._live.label} has not {what} within {timeout:g} s. "
                f"Its server must listen on port {self.port} of 127.0.0.1 or of all addresses."
            ) from None
        if not self.ready:
            raise ForwardFailed(f"{self._live.label} has ended: its ports are closed.")

    @property
    def url(self) -> str | None:
        """The address to open; waits, for a web server, until it answers.

        None where there is no door to here (see `notice`), and when the job has ended.
        """
        found = self._reached().url
        return found.rstrip("/") if found else None

    @property
    def url_now(self) -> str | None:
        """The address to open as it is known by now; never waits."""
        found = self._door().url
        return found.rstrip("/") if found else None

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to connect or send to; as `url`."""
        return self._reached().forward.address

    @property
    def notice(self) -> str:
        """Why there is no door to here, or an empty text; for SSH the command that opens it."""
        if self.port == SSH_PORT:
            if self._live.terminal:
                return closed(self._live)
            return f"in a terminal: jupyter chute ssh {self._live.label}"
        return self._door().notice

    @property
    def dropped(self) -> Dropped:
        """How many datagrams of a udp port were dropped: on the way up to the job, and down.

        They are dropped where they come faster than the connection takes them, and those to
        the job also where nothing listens on its port.
        """
        return self._door().dropped

    def forward(self, port: int | None = None, bind: str | None = None) -> OpenForward:
        """Open the port at one more place on this machine; it closes with the job, or by hand.

        Parameters
        ----------
        port : int, optional
            The port on this machine; by default one that is free.
        bind : str, optional
            The address on this machine. By default a loopback address of its own, where the
            system has many (as Linux has): no cookie of localhost is sent there. ``0.0.0.0``
            opens it to every network that this machine is in.

        Raises
        ------
        SpecError
            If one of them is no port or no address.
        ForwardFailed
            If the place is taken, the port has no door here, or the job has ended.
        """
        opened = self.open_at(Place.parse(port, bind))
        if opened.warning:
            warnings.warn(opened.warning, stacklevel=2)
        return opened

    def open_at(self, place: Place) -> OpenForward:
        """Open the port at a place that is checked already; see `forward`."""
        client = self._followed()
        found = portal.call(client.open_at, self._live, self.name, place)
        return OpenForward(found, self._door(), self._live.label)

    def close_forwards(self) -> int:
        """Close all that `forward` opened in this process, and return how many they were."""
        return portal.call(self._door().close_others)

    def _door(self) -> Door:
        return self._followed().port_door(self._live, self.name)

    def _reached(self) -> Door:
        client = self._followed()
        if not self.ready and not self._live.terminal:
            portal.call(client.forward, self._live, self.name, _PORT_PATIENCE)
        return client.port_door(self._live, self.name)

    def __repr__(self) -> str:
        where = self.notice if self.port == SSH_PORT else self.url if self.ready else ""
        found = f", {where}" if where else ""
        dropped = self.dropped
        if any(dropped):
            found += f", dropped {dropped.up} up and {dropped.down} down"
        return f"<port {self.name}: {self.port}/{self.proto}{found}>"


class PortViews(dict[str, PortView]):
    """The ports of a job by name.

    Parameters
    ----------
    live : Live
        The job.
    followed : callable
        Returns the client, which follows the job from then on.
    """

    def __init__(self, live: Live, followed: Followed) -> None:
        super().__init__((port.name, PortView(port, live, followed)) for port in live.reachable)
        self._live = live

    def __missing__(self, name: object) -> NoReturn:
        label, known = self._live.label, ", ".join(self) or "none"
        said = f"{label} declares no port {name}; it has: {known}."
        if str(name) in [str(each.port) for each in self._live.offered]:
            said += f" But it listens there: job.show_port({name}) opens it."
        raise KeyError(said)


class OpenForward:
    """A job's port at a place on this machine, until it is closed or the job ends.

    Parameters
    ----------
    forward : Forward or UdpForward
        What listens.
    door : Door
        The port's.
    label : str
        The job's.
    """

    def __init__(self, forward: AnyForward, door: Door, label: str) -> None:
        self._forward, self._door, self._label = forward, door, label

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to connect or send to; None once it is closed."""
        return self._forward.address

    @property
    def url(self) -> str | None:
        """The address to open; None once it is closed."""
        found = url(self._forward.port.proto, self._forward.address)
        return found.rstrip("/") if found else None

    @property
    def warning(self) -> str:
        """What a person should know of where it listens, or an empty text."""
        return self._forward.place.warning

    def close(self) -> None:
        """Close it, and what goes through it; the port's other places stay."""
        portal.call(self._door.close_at, self._forward)

    def __enter__(self) -> OpenForward:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        where = self.url or "closed"
        return f"<forward of {self._forward.port.name} of {self._label}: {where}>"
