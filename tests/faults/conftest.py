"""A client of the test's own, and workers of every kind, as the client's tests have them."""

from __future__ import annotations

from tests.client.conftest import environment, here, local, own_client, submit, worker
from tests.client.test_cuts import line

__all__ = ["environment", "here", "line", "local", "own_client", "submit", "worker"]
