"""Every app in both kinds of tab, told its path and not: prints the table of `docs/tabs.md`.

``python -m tests.tabs.full PYTHON [APP …]``; PYTHON has the apps (`make full` makes it).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Error as BrowserError
from playwright.sync_api import FrameLocator, Page, expect

from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.job import close_client
from tests.client.rig import start
from tests.freeport import free_port
from tests.tabs import apps
from tests.tabs.apps import APPS, App, press
from tests.tabs.browser import browser
from tests.tabs.jupyter import Jupyter, jupyter_server
from tests.tabs.servers import CHAT, FILES, PROGRAM, Served, served

SHORT = 25_000

FASTAPI = """
from fastapi import FastAPI
app = FastAPI()
@app.get("/")
def root(): return {"text": "FastAPI of the job"}
"""
GRADIO = """
import sys, gradio
with gradio.Blocks() as demo:
    gradio.Markdown("Gradio of the job")
    said, heard = gradio.Textbox(label="said"), gradio.Textbox(label="heard")
    gradio.Button("turn").click(lambda text: text[::-1], said, heard)
demo.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]),
            root_path=sys.argv[2] if len(sys.argv) > 2 else None)
"""
DASH = """
import sys
from dash import Dash, Input, Output, html
app = Dash(__name__, requests_pathname_prefix=sys.argv[2] + "/" if len(sys.argv) > 2 else None)
app.layout = [html.H1("Dash of the job"), html.Button("press", id="button"), html.P(id="said")]
@app.callback(Output("said", "children"), Input("button", "n_clicks"))
def say(clicks): return "pressed it" if clicks else ""
app.run(host="127.0.0.1", port=int(sys.argv[1]))
"""
PANEL = """
import panel
button, said = panel.widgets.Button(name="press"), panel.pane.Markdown("")
button.on_click(lambda event: setattr(said, "object", "pressed it"))
panel.Column("# Panel of the job", button, said).servable()
"""
BOKEH = """
from bokeh.io import curdoc
from bokeh.layouts import column
from bokeh.models import Button, Div
button, said = Button(label="press"), Div(text="")
button.on_click(lambda: setattr(said, "text", "pressed it"))
curdoc().add_root(column(Div(text="Bokeh of the job"), button, said))
"""


def turn(frame: FrameLocator) -> None:
    frame.get_by_label("said").fill("abc")
    frame.get_by_role("button", name="turn").click()
    expect(frame.get_by_label("heard")).to_have_value("cba", timeout=SHORT)


MORE = {
    "fastapi": App(
        ("-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", "{port}"),
        "FastAPI of the job",
        ("--root-path", "{prefix}"),
        {"app.py": FASTAPI},
    ),
    "gradio": App(
        ("app.py", "{port}"), "Gradio of the job", ("{prefix}",), {"app.py": GRADIO}, use=turn
    ),
    "dash": App(
        ("app.py", "{port}"), "Dash of the job", ("{prefix}",), {"app.py": DASH}, use=press
    ),
    "panel": App(
        ("-m", "panel", "serve", "app.py", "--address", "127.0.0.1", "--port", "{port}",
         "--index", "app"),
        "Panel of the job",
        ("--prefix", "{prefix}"),
        {"app.py": PANEL},
        use=press,
    ),
    "bokeh": App(
        ("-m", "bokeh", "serve", "app.py", "--address", "127.0.0.1", "--port", "{port}"),
        "Bokeh of the job",
        ("--prefix", "{prefix}"),
        {"app.py": BOKEH},
        use=press,
    ),
}  # fmt: skip

#: What each comes to: on an origin and on a path; told its path, on both again.
EXPECTED = {
    "http.server": "yes yes",
    "chat": "yes yes",
    "streamlit": "yes part yes part",
    "tensorboard": "yes no yes no",
    "fastapi": "yes yes yes yes",
    "gradio": "yes part yes yes",
    "dash": "yes no yes yes",
    "panel": "yes yes yes yes",
    "bokeh": "yes no yes yes",
}


def shows_files(frame: FrameLocator) -> None:
    expect(frame.get_by_text("files of the job")).to_be_visible(timeout=SHORT)


def chats(frame: FrameLocator) -> None:
    expect(frame.locator("#said li").first).to_have_text("heard hello", timeout=SHORT)
    expect(frame.locator("#events li").nth(3)).to_have_text("3", timeout=SHORT)


def try_it(page: Page, url: str, whole: Callable[[FrameLocator], None], text: str) -> str:
    """Return yes, part (its page is there, but not all works) or no."""
    page.goto(url)
    frame = page.frame_locator("#tab")
    try:
        whole(frame)
    except (AssertionError, BrowserError):
        return "part" if text and frame.get_by_text(text).first.is_visible() else "no"
    return "yes"


def kinds(jupyter: Jupyter, page: Page, job: Served, app: App | None, simple: object) -> list[str]:
    """Return what a job's page comes to in each kind of tab."""
    found = []
    job.wait()
    for options in ({}, {"kind": "path"}):
        url = jupyter.frame(jupyter.open(job.id, **options)["url"])
        whole: Callable[[FrameLocator], None] = app.works if app else simple  # type: ignore[assignment]
        found.append(try_it(page, url, whole, app.shows if app else ""))
    job.job.cancel()
    return found


def main(python: str, names: list[str]) -> int:
    """Try them all; return 1 if one comes to something else than is written down."""
    apps.PATIENCE = SHORT
    worker = Workers.load().get("local")
    wrong = 0
    print("| app | origin | path | told: origin | told: path |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="full-") as folder, browser() as context:
        page = context.new_page()
        with jupyter_server(Path(folder)) as jupyter:
            for name in names or EXPECTED:
                app = {**APPS, **MORE}.get(name)
                found: list[str] = []
                if app is None:
                    source, simple = (FILES, shows_files) if name != "chat" else (CHAT, chats)
                    job = served(start, source, worker, free_port())
                    found = kinds(jupyter, page, job, None, simple)
                else:
                    for told in (False, True):
                        # What the tests have runs there; the rest where `make full` put it.
                        data = {**app.data(told), "python": python if name in MORE else ""}
                        job = served(start, PROGRAM, worker, free_port(), data=data)
                        found += kinds(jupyter, page, job, app, None)
                wrong += " ".join(found) != EXPECTED[name]
                mark = "" if " ".join(found) == EXPECTED[name] else f" expected {EXPECTED[name]}"
                print(f"| {name} | {' | '.join(found)} |{mark}", flush=True)
    close_client()
    return 1 if wrong else 0


def own_settings(folder: str) -> None:
    """Keep the person's workers, jobs and folder out of this."""
    for name in ("CONFIG", "DATA", "RUNTIME"):
        os.environ[f"JUPYTER_{name}_DIR"] = f"{folder}/{name.lower()}"
    os.chdir(folder)
    Workers.load().add(Worker("local", dir=f"{folder}/worker"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="full-home-") as home:
        interpreter = str(Path(sys.argv[1]).absolute())
        own_settings(home)
        sys.exit(main(interpreter, sys.argv[2:]))
