"""Web servers as jobs: what people run in a job and look at in a tab."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chutes_jupyter.config import Worker
from chutes_jupyter.job import Job
from tests.freeport import free_port

FILES = """
import functools, http.server, os, pathlib, threading
folder = pathlib.Path("site")
folder.mkdir(exist_ok=True)
(folder / "index.html").write_text("<title>Files</title><h1>files of the job</h1>")
(folder / "sub").mkdir(exist_ok=True)
(folder / "sub" / "a.txt").write_text("a" * 1000)
print("prefix", os.environ["CHUTE_PORT_WEB_PREFIX"], flush=True)
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
server = http.server.ThreadingHTTPServer(("127.0.0.1", job_data["port"]), handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
await self.cancel_event.wait()
"""

CHAT = """
import asyncio
from aiohttp import WSMsgType, web

async def chat(request):
    answer = web.WebSocketResponse()
    await answer.prepare(request)
    async for message in answer:
        if message.type is WSMsgType.TEXT:
            await answer.send_str("heard " + message.data)
    return answer

async def events(request):
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    for n in range(1000):
        await answer.write(b"data: %d\\n\\n" % n)
        await asyncio.sleep(0.1)
    return answer

async def size(request):
    total = 0
    async for piece in request.content.iter_any():
        total += len(piece)
    return web.Response(text=str(total))

async def page(request):
    return web.Response(text=PAGE, content_type="text/html")

PAGE = '''<!doctype html><title>Chat</title><ul id="said"></ul><ul id="events"></ul><script>
const here = location.href.replace(/^http/, "ws").replace(/[^/]*$/, "");
const add = (where, text) => {
  const item = document.createElement("li");
  item.textContent = text;
  document.getElementById(where).append(item);
};
const socket = new WebSocket(here + "chat");
socket.onopen = () => socket.send("hello");
socket.onmessage = (event) => add("said", event.data);
new EventSource("events").onmessage = (event) => add("events", event.data);
</script>'''

app = web.Application(client_max_size=2**40)
app.add_routes([web.get("/", page), web.get("/chat", chat), web.get("/events", events),
                web.post("/size", size)])
runner = web.AppRunner(app)
await runner.setup()
await web.TCPSite(runner, "127.0.0.1", job_data["port"]).start()
await self.cancel_event.wait()
await runner.cleanup()
"""

#: Runs a program until it is cancelled; `{port}` and `{prefix}` in its words are filled in.
PROGRAM = """
import asyncio, os, subprocess, sys
for name, text in job_data.get("files", {}).items():
    with open(name, "w") as file:
        file.write(text)
prefix = os.environ["CHUTE_PORT_WEB_PREFIX"]
words = [word.replace("{port}", str(job_data["port"])).replace("{prefix}", prefix)
         for word in job_data["words"]]
if job_data.get("prepare"):
    subprocess.run([sys.executable, "-c", job_data["prepare"]], check=True)
process = subprocess.Popen([job_data.get("python") or sys.executable, *words])
try:
    while not self.cancel_event.is_set() and process.poll() is None:
        await asyncio.sleep(0.1)
finally:
    process.terminate()
    process.wait()
"""


@dataclass
class Serve:
    """The fixture `serve`."""

    make_served: Callable[..., Served]

    def __call__(self, source: str, worker: Worker | None = None, **options: Any) -> Served:
        return self.make_served(source, worker, **options)


@dataclass
class Served:
    """A job with a web server."""

    job: Job
    number: int

    @property
    def id(self) -> str:
        return self.job.id

    def wait(self) -> Served:
        """Wait until it answers."""
        self.job.ports["web"].wait_ready(60)
        return self


def served(
    submit: Callable[..., Job], source: str, worker: Worker, number: int, **options: Any
) -> Served:
    """Submit a job with a web server on a port, and another port that is none."""
    other = free_port()
    ports = (
        {"name": "web", "port": number, "proto": "http"},
        {"name": "raw", "port": other, "proto": "tcp"},
    )
    data = {"port": number, **options.pop("data", {})}
    job = submit(worker, source, ports=ports, data=data, python=sys.executable, **options)
    return Served(job, number)
