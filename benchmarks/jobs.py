"""The job functions that are timed, written as a person would."""

from __future__ import annotations

import asyncio
import os
import subprocess

from chutes_jupyter import Chute, Port

chute = Chute(username="bench", name="bench", image="parachutes/python:3.12")


@chute.job(upload=False)
async def hello(self, **job_data):
    """Print one byte and a newline."""
    print(1)


@chute.job(upload=False)
async def talk(self, **job_data):
    """Print many lines."""
    for number in range(job_data["lines"]):
        print("line", number)


@chute.job(upload=False)
async def run(self, **job_data):
    """Run a program that prints many lines in large pieces."""
    subprocess.run(["seq", "-f", "line %.0f", "0", str(job_data["lines"] - 1)], check=True)


@chute.job()
async def write(self, **job_data):
    """Write one large file, say when it is there, and return when that is asked for."""
    block = bytes(range(256)) * 4096
    with open(job_data["output_dir"] + "/large.bin", "wb") as file:
        for number in range(job_data["size"] // len(block)):
            file.write(number.to_bytes(8, "big") + block[8:])
    print("written")
    while not os.path.exists(job_data["go"]):
        await asyncio.sleep(0.001)


@chute.job(upload=False, ports=[Port(name="web", port=18431, proto="http")])
async def pages(self, **job_data):
    """Serve a page of a thousand bytes, until it is cancelled."""

    async def page(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)
        await writer.drain()
        writer.close()

    await asyncio.start_server(page, "127.0.0.1", 18431)
    await self.cancel_event.wait()


@chute.job(upload=False)
async def wait(self, **job_data):
    """Wait until it is cancelled."""
    await self.cancel_event.wait()
