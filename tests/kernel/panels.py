"""Panels of made-up jobs in a real page of JupyterLab: every state at once, without waiting."""

from __future__ import annotations

import time
from typing import Any, get_args

from playwright.sync_api import Locator, Page

from chutes_jupyter.kernel import frontend
from chutes_jupyter.models import State

STATES: tuple[str, ...] = get_args(State)
ENDED = STATES[5:]
REASONS = {
    "pending": "waiting for 1 GPU, 2 ahead",
    "failed": "ValueError: the loss went up again in the very last epoch of all",
    "cancelled": "by you, from this notebook",
    "timed_out": "after 1:00:00",
    "lost": "never reached the worker",
}
_SGR = "".join(f"\x1b[{code}mcolour {code}\x1b[0m\n" for code in [*range(30, 38), *range(90, 98)])
LOG = f"{_SGR}\x1b[2mdim\x1b[0m \x1b[1mbold\x1b[0m \x1b[7minverse\x1b[0m\n{'a long line ' * 40}\n"

#: Puts a panel into a place of its own, above all of Lab.
_SHOW = """async ({ script, css, traits, width, log }) => {
  const file = new Blob([script], { type: "text/javascript" });
  window.chutesCode ??= await import(URL.createObjectURL(file));
  let stage = document.getElementById("stage");
  if (!stage) {
    const style = Object.assign(document.createElement("style"), { textContent: css });
    stage = Object.assign(document.createElement("div"), { id: "stage" });
    stage.style = "position: fixed; inset: 0; z-index: 99999; overflow: auto;"
      + "background: var(--jp-layout-color0)";
    document.body.append(style, stage);
  }
  const place = document.createElement("div");
  place.style.width = width;
  stage.replaceChildren(place);
  const heard = {};
  const hear = (name, ...what) => (heard[name] ?? []).forEach((each) => each(...what));
  window.model = {
    get: (name) => traits[name],
    set: (more) => {
      Object.assign(traits, more);
      for (const name of Object.keys(more)) hear(`change:${name}`);
    },
    on: (name, act) => { (heard[name] ??= []).push(act); },
    send: ({ do: act, view }) => {
      if (act !== "log") return;
      const bytes = new TextEncoder().encode(log);
      const piece = { begin: 0, end: bytes.length, runs: [], reset: true, over: true };
      hear("msg:custom", { view, log: piece }, [new DataView(bytes.buffer)]);
    },
  };
  window.chutesCode.default.render({ model: window.model, el: place });
}"""


def job(state: str = "running", **more: Any) -> dict[str, Any]:
    """Return the facts of a job in a state, as the kernel tells them."""
    now, ended = time.time(), state in ENDED
    begun = state not in ("pending", "starting")
    return {
        "id": "0" * 32, "label": "train-3f9c2a", "name": "train", "worker": "gpu-box-in-the-cellar",
        "state": state, "reason": REASONS.get(state), "elapsed": 761.0 if begun else None,
        "timeout": 3600.0, "created": now - 800, "started": now - 761 if begun else None,
        "ended": now if ended else None, "confirmed": now, "gpus": "RTX 4090", "python": "3.11.2",
        "notebook": "/home/me/projects/vision/experiments/train.ipynb",
        "folder": "chute_outputs/train-3f9c2a", "trouble": "", "carried": "", "notices": [],
        "arriving": state == "collecting", "mirror": {"files_done": 3, "files_total": 12},
        "outputs": "", "ssh": True, "over": ended, "cancel_sent": state == "cancelling",
        "fault": "", "value": "{'epochs': 30}" if state == "succeeded" else None,
        "traceback": "", "withheld": None,
        "sent": {"count": 1, "bytes": 1234, "items": [
            {"name": "helpers", "kind": "function", "size": 1234}]},
        **more,
    }  # fmt: skip


def traits(state: str = "running", **more: Any) -> dict[str, Any]:
    """Return all that a kernel tells of a job in a state."""
    over = state in ENDED
    http = {"name": "board", "port": 8765, "proto": "http", "over": over, "ready": not over}
    tcp = {"name": "store", "port": 8766, "proto": "tcp", "over": over, "ready": False}
    paths = [f"checkpoints/run-{n}/a-rather-long-name-of-a-file.npz" for n in range(3)]
    entries = [{"path": "notes.txt", "size": 12, "state": "arriving"},
               {"path": "a-rather-long-name-of-a-file-without-a-break.safetensors", "size": 4 << 30,
                "state": "failed"}]  # fmt: skip
    entries += [{"path": path, "size": 40_000, "state": "here"} for path in paths]
    gpu = {"index": 0, "name": "NVIDIA GeForce RTX 4090", "percent": 93.0, "memory_mib": 20000,
           "own_mib": 12000, "total_mib": 24000}  # fmt: skip
    sample = {"at": 0.0, "cpu_percent": 180.0, "memory_mib": 3000, "gpus": [gpu]}
    return {
        "job": job(state),
        "ports": [
            {**http, "url": "" if over else "http://127.12.43.9:8765/", "notice": ""},
            {**tcp, "url": "", "notice": "dropped: 3 up, 4 down"},
        ],
        "undeclared": [7860] if state == "running" else [],
        "files": {"count": len(entries), "bytes": 4 << 30, "here": 3, "entries": entries,
                  "folder": "chute_outputs/train-3f9c2a"},
        "progress": {"done": 12, "total": 30, "unit": "epoch", "description": "", "rate": 0.03,
                     "seconds_left": 480.0},
        "metrics": {name: [[n, n / 7] for n in range(20)] for name in ("loss", "accuracy", "lr")},
        "usage": [sample, sample],
        "opened": "log",
        **more,
    }  # fmt: skip


def show(page: Page, width: str = "900px", log: str = LOG, **told: Any) -> Locator:
    """Show the panel of a made-up job in a page of Lab, and return it."""
    page.evaluate(
        _SHOW,
        {
            "script": frontend.script(),
            "css": frontend.style(),
            "traits": told or traits(),
            "width": width,
            "log": log,
        },
    )
    return page.locator("#stage .chutes-panel")


def set_theme(page: Page, name: str) -> None:
    """Have Lab show itself in a theme, and wait until it does."""
    page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", name
    )
    page.wait_for_function(
        "theme => document.body.dataset.jpThemeName === theme", arg=name, timeout=30_000
    )
