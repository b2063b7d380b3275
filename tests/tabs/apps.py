"""Programs that people look at in a tab: how each is run, and what shows that it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import FrameLocator, expect

PATIENCE = 60_000


def nothing(_frame: FrameLocator) -> None:
    """Do nothing more."""


@dataclass(frozen=True)
class App:
    """One program.

    Parameters
    ----------
    words : tuple of str
        What Python runs; ``{port}`` is filled in.
    shows : str
        A text on its page.
    told : tuple of str
        What is added so that it knows its path; ``{prefix}`` is filled in.
    files : dict
        What it needs, by names.
    prepare : str
        A script that runs before it.
    use : callable
        Uses it, and looks whether that works.
    """

    words: tuple[str, ...]
    shows: str
    told: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    prepare: str = ""
    use: Callable[[FrameLocator], None] = nothing

    def data(self, told: bool = False) -> dict[str, Any]:
        """Return the data of a job that runs it."""
        words = [*self.words, *(self.told if told else ())]
        return {"words": words, "files": self.files, "prepare": self.prepare}

    def works(self, frame: FrameLocator) -> None:
        """Look whether it works."""
        expect(frame.get_by_text(self.shows).first).to_be_visible(timeout=PATIENCE)
        self.use(frame)


STREAMLIT = """
import streamlit as st
st.title("Streamlit of the job")
if st.button("press"):
    st.write("pressed " + "it")
file = st.file_uploader("file")
if file:
    st.write("got %d bytes" % len(file.getvalue()))
"""

LOSSES = """
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
writer = EventFileWriter("logs")
for step in range(10):
    value = Summary.Value(tag="loss-of-the-job", simple_value=1 / (step + 1))
    writer.add_event(Event(step=step, summary=Summary(value=[value])))
writer.close()
"""


def press(frame: FrameLocator) -> None:
    """Press Streamlit's button: that goes through its websocket."""
    frame.get_by_role("button", name="press").click()
    expect(frame.get_by_text("pressed it")).to_be_visible(timeout=PATIENCE)


def press_and_upload(frame: FrameLocator) -> None:
    """The same, and upload a file: that needs its cookie."""
    press(frame)
    frame.locator("input[type=file]").set_input_files(
        {"name": "a.txt", "mimeType": "text/plain", "buffer": b"x" * 1234}
    )
    expect(frame.get_by_text("got 1234 bytes")).to_be_visible(timeout=PATIENCE)


APPS = {
    "streamlit": App(
        (
            "-m", "streamlit", "run", "app.py", "--server.port", "{port}",
            "--server.address", "127.0.0.1", "--server.headless", "true",
            "--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none",
        ),
        "Streamlit of the job",
        ("--server.baseUrlPath", "{prefix}"),
        {"app.py": STREAMLIT},
        use=press_and_upload,
    ),
    "tensorboard": App(
        ("-m", "tensorboard.main", "--logdir", "logs", "--host", "127.0.0.1", "--port", "{port}"),
        "loss-of-the-job",
        ("--path_prefix", "{prefix}"),
        prepare=LOSSES,
    ),
}  # fmt: skip
