"""A client of the test's own, and workers of every kind, as the client's tests have them."""

from __future__ import annotations

from tests.client.conftest import environment, here, line, local, own_client, submit, worker

__all__ = ["environment", "here", "line", "local", "own_client", "submit", "worker"]
