"""Ports that a test names in advance are nobody else's."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from tests.freeport import free_port, share_of
from tests.kernel.notebook import open_notebook


def test_processes_side_by_side_have_shares_of_their_own() -> None:
    shares = [share_of(worker, 3) for worker in range(3)]
    assert all(len(share) > 1000 for share in shares)
    assert all(one[-1] < other[0] for one, other in pairwise(shares))


def test_a_port_is_not_given_twice_in_a_row() -> None:
    given = [free_port() for _ in range(200)]
    assert len(set(given)) == len(given)


def test_a_kernel_has_none_that_a_connection_is_given_by_chance(tmp_path: Path) -> None:
    below = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    with open_notebook(tmp_path) as notebook:
        named = notebook.manager.get_connection_info()
        ports = [value for name, value in named.items() if name.endswith("_port")]
        assert len(ports) == 5
        assert max(map(int, ports)) < below
