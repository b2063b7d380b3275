"""Progress and results of the libraries themselves: tqdm, matplotlib, IPython, pandas."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.rig import Agent, agent


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "root") as running:
        yield running


def run(worker: Agent, source: str) -> tuple[Path, str]:
    """Run a job with the tests' own libraries; return its folder and its log."""
    job = worker.start(source, python=sys.executable)
    last = worker.end(job)
    assert last["state"] == "succeeded", last
    return worker.root / "jobs" / job, worker.log(job).decode()


def progress(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "progress.json").read_text())
    return found


def shown(folder: Path) -> list[dict[str, str]]:
    items = json.loads((folder / "displays.json").read_text())["items"]
    files = [folder / "displays" / f"{item['n']}.json" for item in items]
    return [json.loads(file.read_bytes())["data"] for file in files]


@pytest.mark.parametrize(
    "loop",
    [
        "from tqdm import tqdm\nfor _ in tqdm(range(30), desc='all', unit='step'): pass",
        "from tqdm.auto import trange\nfor _ in trange(30, desc='all', unit='step'): pass",
        "import tqdm\nwith tqdm.tqdm(total=30, desc='all: ', unit='step') as bar:\n"
        "    for _ in range(30): bar.update()",
        "import tqdm.asyncio\n"
        "async for _ in tqdm.asyncio.tqdm(range(30), desc='all', unit='step'): pass",
    ],
)
def test_a_bar_is_found_and_drawn_as_ever(worker: Agent, loop: str) -> None:
    folder, log = run(worker, loop)
    found = progress(folder)
    assert (found["done"], found["total"]) == (30, 30)
    assert (found["description"], found["unit"]) == ("all", "step")
    assert found["rate"] > 0
    assert found["seconds_left"] == 0
    assert "all: 100%|" in log
    assert "| 30/30 [" in log


def test_the_outermost_bar_counts_and_its_postfix_is_a_metric(worker: Agent) -> None:
    folder, _ = run(
        worker,
        """
from tqdm import tqdm
import time
with tqdm(range(3), desc="epochs", mininterval=0) as epochs:
    for epoch in epochs:
        for _ in tqdm(range(50), desc="batches", mininterval=0, leave=False):
            time.sleep(0.002)
        epochs.set_postfix(loss=1 / (epoch + 1), note="fine")
        seen.append(epoch) if "seen" in globals() else None
    import json, os
    told = json.load(open(os.path.dirname(job_data["output_dir"]) + "/progress.json"))
    assert told["description"] == "epochs", told
""",
    )
    found = progress(folder)
    assert (found["description"], found["done"], found["total"]) == ("epochs", 3, 3)
    assert found["metrics"] == {"loss": pytest.approx(1 / 3)}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [point["value"] for point in lines] == [1, 0.5, pytest.approx(1 / 3)]


def test_bars_one_after_the_other_and_one_that_is_off(worker: Agent) -> None:
    folder, _ = run(
        worker,
        "from tqdm import tqdm\n"
        "kept = tqdm(total=2, desc='never closed')\nkept.update(2)\n"
        "for _ in tqdm(range(4), desc='second'): pass\n"
        "for _ in tqdm(range(9), desc='off', disable=True): pass\n",
    )
    found = progress(folder)
    assert (found["description"], found["done"]) == ("second", 4)


def test_who_tells_by_himself_is_not_overruled_by_a_bar(worker: Agent) -> None:
    folder, _ = run(
        worker,
        "from tqdm import tqdm\nself.progress(1, 10, unit='shard')\n"
        "for _ in tqdm(range(4)): pass\n",
    )
    assert progress(folder)["unit"] == "shard"


def test_a_trainer_is_found(worker: Agent) -> None:
    """transformers draws with tqdm, and keeps its own callbacks."""
    folder, log = run(
        worker,
        """
import os
os.environ["HF_HUB_OFFLINE"] = "1"
import torch, transformers
class Data(torch.utils.data.Dataset):
    def __len__(self): return 8
    def __getitem__(self, index): return {"x": torch.ones(2), "labels": torch.zeros(1)}
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(2, 1)
    def forward(self, x, labels): return {"loss": ((self.line(x) - labels) ** 2).mean()}
transformers.Trainer(
    Model(),
    transformers.TrainingArguments(
        job_data["output_dir"] + "/run", max_steps=6, per_device_train_batch_size=2,
        save_strategy="no", report_to=[], logging_steps=2, use_cpu=True,
    ),
    train_dataset=Data(),
).train()
""",
    )
    found = progress(folder)
    assert (found["done"], found["total"]) == (6, 6)
    assert "6/6" in log


def test_figures_are_shown_and_closed(worker: Agent) -> None:
    folder, log = run(
        worker,
        """
import matplotlib.pyplot as plt
for n in range(2):
    plt.plot([n, 1])
    plt.show()
assert plt.get_fignums() == []
figure, axes = plt.subplots()
display(figure)
assert plt.get_fignums() == [1]
axes.set_title("$" + chr(92) + "nosuch$")
plt.show()
""",
    )
    found = shown(folder)
    assert len(found) == 4
    assert all(each["image/png"].startswith("iVBORw0KGgo") for each in found[:3])
    # What can't be drawn ends no job, as it ends no cell.
    assert "image/png" not in found[3]
    assert "nosuch" in log
    assert "non-interactive" not in log


def test_ipython_shows_here_too(worker: Agent) -> None:
    folder, log = run(
        worker,
        """
from IPython.display import HTML, Image, Markdown, Pretty, display, update_display
from IPython.display import publish_display_data
import struct, zlib
def chunk(kind, data):
    body = kind + data
    return struct.pack("!I", len(data)) + body + struct.pack("!I", zlib.crc32(body))
png = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack("!IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
png += chunk(b"IDAT", zlib.compress(b"\\0\\0")) + chunk(b"IEND", b"")
display(HTML("<b>bold</b>"), Markdown("*m*"))
display(Image(data=png))
handle = display(Pretty("before"), display_id="x")
handle.update(Pretty("after"))
update_display(Pretty("last"), display_id="x")
publish_display_data({"text/plain": "published", "text/latex": "$x$"})
from IPython.core.interactiveshell import InteractiveShell
assert not InteractiveShell.initialized()
""",
    )
    found = shown(folder)
    assert found[0]["text/html"] == "<b>bold</b>"
    assert found[1]["text/markdown"] == "*m*"
    assert found[2]["image/png"].startswith("iVBORw0KGgo")
    assert found[3]["text/plain"] == "last"
    assert found[4] == {"text/plain": "published", "text/latex": "$x$"}
    assert "<IPython.core.display.HTML object>" in log


def test_tables_and_tensors(worker: Agent) -> None:
    folder, _ = run(
        worker,
        """
import numpy, pandas, torch
display(pandas.DataFrame({"a": [1, 2]}))
self.metric("np", numpy.float32(0.5))
self.metric("np", numpy.array(1.5))
self.metric("np", torch.tensor(2.5, requires_grad=True))
self.progress(numpy.int64(3), torch.tensor(4), loss=numpy.float64("nan"))
""",
    )
    assert "<table" in shown(folder)[0]["text/html"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [point["value"] for point in lines if point["name"] == "np"] == [0.5, 1.5, 2.5]
    assert progress(folder)["done"] == 3


def test_workers_of_a_data_loader_draw_no_progress(worker: Agent) -> None:
    folder, _ = run(
        worker,
        """
import torch
from tqdm import tqdm
class Data(torch.utils.data.Dataset):
    def __len__(self): return 6
    def __getitem__(self, index):
        for _ in tqdm(range(99), mininterval=0): pass
        return index
loader = torch.utils.data.DataLoader(Data(), num_workers=2, collate_fn=list)
for _ in tqdm(loader, desc="outer"): pass
""",
    )
    found = progress(folder)
    assert (found["description"], found["done"], found["total"]) == ("outer", 6, 6)


def test_a_module_is_found_as_without_us(worker: Agent) -> None:
    """Who looks at a module that was watched for sees the loader that it would have had."""
    _, log = run(
        worker,
        "import tqdm.std, inspect\n"
        "print(type(tqdm.std.__loader__).__name__, 'exec_module' in vars(tqdm.std.__loader__))\n"
        "print('class tqdm' in inspect.getsource(tqdm.std.tqdm))\n"
        "import importlib; importlib.reload(tqdm.std)\n"
        "for _ in tqdm.std.tqdm(range(3)): pass\n",
    )
    assert log.splitlines()[:2] == ["SourceFileLoader False", "True"]
