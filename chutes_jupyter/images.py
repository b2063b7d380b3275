"""The container image that a chute is declared with: kept for the platform, step by step."""

from __future__ import annotations

from typing import Any

from chutes_jupyter.errors import SpecError

_EXAMPLE = 'Image(username="me", name="training", tag="1.0")'


class Image:
    """A container image, made of a base and steps.

    Workers of your own don't build images: the steps are kept, and a job says which of them
    its worker does not apply.

    Parameters
    ----------
    username, name, tag : str
        What the image is called on the platform.
    readme : str
        Its description.
    """

    def __init__(self, username: str, name: str, tag: str, readme: str = "") -> None:
        given = {"username": username, "name": name, "tag": tag, "readme": readme}
        for field, value in given.items():
            if not isinstance(value, str) or not (value or field == "readme"):
                raise SpecError(field, value, "must be a text", _EXAMPLE)
        self.username, self.name, self.tag, self.readme = username, name, tag, readme
        #: The steps in order: the method's name, and what it was called with.
        self.steps: list[tuple[str, tuple[Any, ...]]] = []

    def from_base(self, base_image: str) -> Image:
        """Begin with another image."""
        return self._step("from_base", base_image)

    def run_command(self, command: str) -> Image:
        """Run a shell command while the image is built."""
        return self._step("run_command", command)

    def apt_install(self, package: str | list[str]) -> Image:
        """Install system packages."""
        return self._step("apt_install", package)

    def apt_remove(self, package: str | list[str]) -> Image:
        """Remove system packages."""
        return self._step("apt_remove", package)

    def with_env(self, key: str, value: str) -> Image:
        """Set a variable of the environment."""
        return self._step("with_env", key, value)

    def with_python(self, version: str = "3.10.15") -> Image:
        """Install that version of Python."""
        return self._step("with_python", version)

    def with_maintainer(self, maintainer: str) -> Image:
        """Say who looks after the image."""
        return self._step("with_maintainer", maintainer)

    def with_entrypoint(self, *args: str) -> Image:
        """Set what the container starts."""
        return self._step("with_entrypoint", *args)

    def add(self, source: str, dest: str) -> Image:
        """Copy files into the image."""
        return self._step("add", source, dest)

    def set_workdir(self, directory: str) -> Image:
        """Set the folder in which commands run."""
        return self._step("set_workdir", directory)

    def set_user(self, user: str) -> Image:
        """Set the user who runs commands."""
        return self._step("set_user", user)

    def unapplied(self) -> list[str]:
        """Return the steps that a worker of your own does not apply, as they were written."""
        # Who looks after an image changes nothing in it.
        return [_written(*step) for step in self.steps if step[0] != "with_maintainer"]

    def _step(self, method: str, *args: Any) -> Image:
        self.steps.append((method, args))
        return self

    def __repr__(self) -> str:
        return f"<image {self.username}/{self.name}:{self.tag}, {len(self.steps)} steps>"


def _written(method: str, args: tuple[Any, ...]) -> str:
    # Values of an environment may be secrets.
    shown = [repr(args[0]), "…"] if method == "with_env" else [repr(value) for value in args]
    return f"{method}({', '.join(shown)})"
