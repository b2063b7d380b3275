"""What goes along with a job: its data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chutes_jupyter.agent import codec
from chutes_jupyter.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

SSH_KEY = "_ssh_public_key"
_DATA_EXAMPLE = "train.submit(epochs=3)"


def check_job_data(job_data: Mapping[str, Any]) -> dict[str, Any]:
    """Return job data as a new dict.

    Raises
    ------
    SpecError
        If a key is the platform's own, or a value can't travel.
    """
    for key, value in job_data.items():
        if not isinstance(key, str):
            raise SpecError("job_data", key, "keys must be strings", _DATA_EXAMPLE)
        if key in ("self", "output_dir"):
            rule = "is given to the function by the worker, and can't be passed"
            raise SpecError(f"job_data[{key!r}]", value, rule, _DATA_EXAMPLE)
        if key == SSH_KEY:
            if not isinstance(value, str):
                raise SpecError(key, value, "must be a text", f'{SSH_KEY}="ssh-ed25519 AAAA…"')
        elif key.startswith("_"):
            rule = f"keys that begin with _ are the platform's; only {SSH_KEY} may be passed"
            raise SpecError("job_data", key, rule, _DATA_EXAMPLE)
        try:
            codec.dumps(value, key)
        except codec.CodecError as error:
            raise SpecError("job_data", key, str(error).rstrip("."), _DATA_EXAMPLE) from error
    return dict(job_data)
