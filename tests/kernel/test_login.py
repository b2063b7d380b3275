"""`%chute worker login` in a notebook: the kernel asks, in the front end's own box."""

from __future__ import annotations

from chutes_jupyter.config import Worker
from tests.kernel.notebook import PATIENCE, Notebook, Running
from tests.test_login import WORD, asking, folder, user, worker

__all__ = ["asking", "folder", "user", "worker"]  # fixtures


def ask(notebook: Notebook, code: str) -> Running:
    """Run a cell that may ask."""
    content = {"code": code, "silent": False, "allow_stdin": True, "stop_on_error": True}
    message = notebook.client.session.msg("execute_request", content)
    notebook.client.shell_channel.send(message)
    return Running(notebook, message["header"]["msg_id"])


def test_a_notebook_asks_and_shows_nothing_of_the_answer(
    worker: Worker, notebook: Notebook
) -> None:
    running = ask(notebook, "%chute worker login gpu1")
    asked = notebook.client.get_stdin_msg(timeout=PATIENCE)["content"]
    assert asked["password"] is True
    assert "password" in asked["prompt"]
    notebook.client.input(WORD)
    outcome = notebook.finish(running)
    assert "Logged in to gpu1" in outcome.stdout
    assert WORD not in outcome.stdout + outcome.stderr
    assert "Worker gpu1 can take jobs." in notebook.run("%chute worker test gpu1").stdout


def test_where_nobody_can_be_asked_a_terminal_is_named(worker: Worker, notebook: Notebook) -> None:
    outcome = notebook.run("%chute worker login gpu1", fails=True)
    assert outcome.error_type == "LoginFailed"
    assert "jupyter chute worker login gpu1" in outcome.error
