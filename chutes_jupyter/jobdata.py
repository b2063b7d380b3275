"""What goes along with a job: its data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from chutes_jupyter.agent import codec
from chutes_jupyter.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SSH_KEY = "_ssh_public_key"
_DATA_EXAMPLE = "train.submit(epochs=3)"


class JobData(NamedTuple):
    """Job data as it travels."""

    plain: dict[str, Any]
    #: Values with instances of the person's classes, as the codec's bytes: the worker can read
    #: them only once it has made those classes.
    instances: dict[str, bytes]
    classes: dict[str, list[type]]

    def check_classes(self, job: str, home: Collection[str], units: Collection[str]) -> None:
        """Raise `SpecError` if a class is defined here and does not go along.

        Parameters
        ----------
        job : str
            The job function's name.
        home : collection of str
            The modules whose classes travel as source, if the function uses them.
        units : collection of str
            The names of what goes along.
        """
        for key, kinds in self.classes.items():
            for kind in kinds:
                name = kind.__qualname__.partition(".")[0]
                if kind.__module__ in home and name not in units:
                    rule = (
                        f"has a {name} in it, and {job} doesn't use that name, so that the class "
                        f"does not go along: write `{name}` somewhere in {job}, as in "
                        "an annotation, or pass plain values"
                    )
                    raise SpecError(f"job_data[{key!r}]", kind, rule, _DATA_EXAMPLE)


def check_job_data(job_data: Mapping[str, Any]) -> JobData:
    """Return job data as it travels.

    Raises
    ------
    SpecError
        If a key is the platform's own, or a value can't travel.
    """
    checked = JobData({}, {}, {})
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
        classes: list[type] = []
        try:
            data = codec.dumps(value, key, classes=classes)
        except codec.CodecError as error:
            raise SpecError("job_data", key, str(error).rstrip("."), _DATA_EXAMPLE) from error
        if classes:
            checked.instances[key], checked.classes[key] = data, classes
        else:
            checked.plain[key] = value
    return checked
