"""What a job shows: ``display``, ``plt.show`` and IPython's own ways to do it.

Each object is a file in the folder `displays`; `displays.json` says which there are. Of very
many the newest are kept.
"""

from __future__ import annotations

import os
import sys
import time
from types import ModuleType
from typing import Any, Callable, Collection, Dict, List, NamedTuple, Optional, Set

from . import bundles, space
from .journal import write_bytes, write_json
from .pacing import Pace

#: So many objects of a job are kept, and so many bytes.
MOST, MOST_BYTES = 200, 32 * 1024 * 1024
#: No text longer than that names an object.
_LONGEST_ID = 200


class Shown:
    """Takes what the job shows, from any of its threads.

    Parameters
    ----------
    index, folder : str
        The list of what is kept, and the folder of it.
    notice : callable
        Told what the person should read.
    """

    def __init__(self, index: str, folder: str, notice: Callable[[str], None]) -> None:
        self._index, self._folder, self._notice = index, folder, notice
        self._pace = Pace(self._write)
        self._version, self._number, self._dropped, self._size = 0, 0, 0, 0
        self._items: Dict[int, _Item] = {}
        self._named: Dict[str, int] = {}
        #: What is not written yet, what is, and what lies there and is not kept.
        self._unwritten: Dict[int, bytes] = {}
        self._files: Set[int] = set()
        self._old: List[int] = []
        self._told: List[str] = []

    def show(
        self,
        value: Any,
        *,
        metadata: Optional[Dict[str, Any]] = None,
        raw: bool = False,
        wanted: Optional[Callable[[str], bool]] = None,
        name: Optional[str] = None,
        update: bool = False,
    ) -> None:
        """Take one object.

        Parameters
        ----------
        value, metadata, raw, wanted
            As for `bundles.encoded`.
        name : str, optional
            What it is called by an update, which takes its place.
        update : bool
            Whether this is one; of what was never shown, or is kept no more, nothing becomes.
        """
        if self._pace.foreign:
            return
        found = bundles.encoded(value, metadata, raw, wanted)
        with self._pace.lock:
            number = self._named.get(name, 0) if name and update else 0
            if update and number not in self._items:
                return
            if not update:
                self._number = number = self._number + 1
                if name:
                    self._named[name[:_LONGEST_ID]] = number
            self._take(number, found)
            self._pace.noted()

    def finish(self) -> None:
        """Write what is left, at the end of the job."""
        self._pace.finish()

    def _take(self, number: int, found: bytes) -> None:
        self._version += 1
        before = self._items.get(number)
        self._size += len(found) - (before.size if before else 0)
        self._items[number] = _Item(self._version, len(found), time.time())
        self._unwritten[number] = found
        while len(self._items) > MOST or self._size > MOST_BYTES:
            oldest = min(self._items)
            if oldest == number:
                break
            self._drop(oldest)

    def _drop(self, number: int) -> None:
        self._size -= self._items.pop(number).size
        self._dropped += 1
        self._unwritten.pop(number, None)
        if number in self._files:
            self._files.remove(number)
            self._old.append(number)
        self._named = {name: kept for name, kept in self._named.items() if kept != number}
        self._say(
            "the job shows very much: of its results the newest %d are kept, and at most %d MiB"
            % (MOST, MOST_BYTES >> 20)
        )

    def _path(self, number: int) -> str:
        return os.path.join(self._folder, "%d.json" % number)

    def _write(self, _now: float) -> Optional[float]:
        if not (self._unwritten or self._old):
            return None
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            # What is listed is there: files come before the list, and go after it.
            for number, found in self._unwritten.items():
                write_bytes(self._path(number), found)
                self._files.add(number)
            rows = [
                {"n": n, "v": i.version, "size": i.size, "at": i.at}
                for n, i in sorted(self._items.items())
            ]
            index = {"version": self._version, "dropped": self._dropped, "items": rows}
            write_json(self._index, index)
            for number in self._old:
                space.give_back(self._path(number))
        except OSError as error:
            self._say("results were not written: %s" % error)
        self._unwritten.clear()
        self._old.clear()
        return None

    def _say(self, message: str) -> None:
        if message not in self._told and len(self._told) < 3:
            self._told.append(message)
            self._notice(message)


class _Item(NamedTuple):
    """What is known of one object: which state of all it is of, its bytes, and since when."""

    version: int
    size: int
    at: float


class Display:
    """The job's ``display``, which stands in for IPython's.

    Parameters
    ----------
    shown : Shown
        What takes it.
    """

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def display(
        self,
        *objects: Any,
        include: Optional[Collection[str]] = None,
        exclude: Optional[Collection[str]] = None,
        metadata: Optional[Dict[str, Any]] = None,
        transient: Optional[Dict[str, Any]] = None,
        display_id: Any = None,
        raw: bool = False,
        **_: Any,
    ) -> Optional["Handle"]:
        """Show objects in the panel, and print their texts.

        Parameters
        ----------
        *objects
            What to show.
        include, exclude : collection of str, optional
            Which forms, by their MIME types, to show alone or not.
        metadata : dict, optional
            By MIME type.
        transient : dict, optional
            May name them too, as ``display_id``.
        display_id : str or True, optional
            What they are called; True for a new name.
        raw : bool
            Whether the objects are bundles themselves.

        Returns
        -------
        Handle, or None without `display_id`
        """
        name = (transient or {}).get("display_id") if display_id is None else display_id
        if name is True:
            name = os.urandom(16).hex()
        name = None if name is None else str(name)

        def wanted(mime: str) -> bool:
            return (not include or mime in include) and mime not in (exclude or ())

        for item in objects:
            text = item.get("text/plain") if raw and isinstance(item, dict) else None
            print(bundles.text_of(item) if text is None else text)  # noqa: T201  # its purpose
            self._shown.show(item, metadata=metadata, raw=raw, wanted=wanted, name=name)
        return None if display_id is None or name is None else Handle(self, name)

    def update_display(self, obj: Any, *, display_id: Any, **options: Any) -> None:
        """Put another object in the place of one that was shown."""
        chosen = {key: options[key] for key in ("metadata", "raw") if key in options}
        self._shown.show(obj, name=str(display_id), update=True, **chosen)

    def publish(
        self,
        data: Dict[str, Any],
        metadata: Optional[Dict[str, Any]] = None,
        *_args: Any,
        transient: Optional[Dict[str, Any]] = None,
        update: bool = False,
        **_: Any,
    ) -> None:
        """Show a bundle; in place of IPython's ``publish_display_data``."""
        name = (transient or {}).get("display_id")
        if update:
            self.update_display(data, display_id=name, metadata=metadata, raw=True)
        else:
            self.display(data, metadata=metadata, transient=transient, raw=True)

    # -- in place of others' ----------------------------------------------------------

    def take_ipython(self, module: ModuleType) -> None:
        """Put these in the place of IPython's, in a module that defines them."""
        mine: Dict[str, Any] = {
            "display": self.display,
            "update_display": self.update_display,
            "publish_display_data": self.publish,
        }
        for name, function in mine.items():
            if name in vars(module):
                setattr(module, name, function)

    def take_pyplot(self, module: Any) -> None:
        """Let ``plt.show`` show, where figures have no window, and close them as notebooks do."""
        original = module.show

        def show(*args: Any, **kwargs: Any) -> Any:
            """Show every open figure in the panel, and close them."""
            managers = sys.modules["matplotlib._pylab_helpers"].Gcf.get_all_fig_managers()
            canvases = [manager.canvas for manager in managers]
            if any(getattr(c, "required_interactive_framework", None) for c in canvases):
                return original(*args, **kwargs)
            for canvas in canvases:
                self._shown.show(canvas.figure)
            module.close("all")
            return None

        module.show = show


class Handle:
    """What was shown under a name, and can be replaced.

    Parameters
    ----------
    display : Display
        What shows it.
    display_id : str
        Its name.
    """

    def __init__(self, display: Display, display_id: str) -> None:
        self._display, self.display_id = display, display_id

    def display(self, obj: Any, **options: Any) -> None:
        """Show another object under the same name."""
        self._display.display(obj, display_id=self.display_id, **options)

    def update(self, obj: Any, **options: Any) -> None:
        """Put another object in its place."""
        self._display.update_display(obj, display_id=self.display_id, **options)

    def __repr__(self) -> str:
        return "<display %s>" % self.display_id
