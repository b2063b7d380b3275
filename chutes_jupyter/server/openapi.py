"""The description of the API, made of the routes and of the shapes of what goes in and out.

`openapi.json` holds it; `scripts/openapi` writes it anew.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic.json_schema import models_json_schema

from chutes_jupyter.server.base import Operation, operations_of
from chutes_jupyter.server.shapes.base import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

    from chutes_jupyter.server.base import ApiHandler

FILE = Path(__file__).with_name("openapi.json")
#: Raised where what is there changes; what is only added keeps it.
VERSION = 1
BASE = f"/chutes/api/v{VERSION}"
_REFERENCE = "#/components/schemas/{model}"
_TAGS = {
    "jobs": "Jobs, their logs, files and ports.",
    "workers": "Where jobs run.",
    "server": "The server extension itself.",
}


def described(routes: Iterable[type[ApiHandler]]) -> dict[str, Any]:
    """Return the description of these routes."""
    operations = {
        (route.path, method): (operation, doc)
        for route in routes
        for method, (operation, doc) in operations_of(route).items()
    }
    paths: dict[str, dict[str, Any]] = {}
    for (path, method), (operation, doc) in operations.items():
        paths.setdefault(path, {})[method] = _operation(path, method, operation, doc)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "chutes_jupyter",
            "version": str(VERSION),
            "description": (
                "Jobs and workers of the person who runs this Jupyter server. Below the server's "
                "base URL. Every operation needs the server's login (token or cookie), and every "
                "write by cookie the X-XSRFToken header, as the server's own API does."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": BASE}],
        "security": [{"token": []}, {"cookie": []}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": _schemas(operation for operation, _ in operations.values()),
            "responses": {"problem": _content("What went wrong.", Problem)},
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "Authorization"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "_xsrf"},
            },
        },
    }


def written(routes: Iterable[type[ApiHandler]]) -> str:
    """Return the same as the file has it."""
    return json.dumps(described(routes), indent=1, ensure_ascii=False) + "\n"


def _operation(path: str, method: str, operation: Operation, doc: str) -> dict[str, Any]:
    summary, _, more = doc.partition("\n\n")
    found: dict[str, Any] = {
        "operationId": _name(path, method),
        "summary": " ".join(summary.split()),
        "tags": [_tag(path)],
    }
    if more:
        found["description"] = "\n".join(line.strip() for line in more.splitlines()).strip()
    parameters = [_in_path(name) for name in re.findall(r"{(\w+)}", path)]
    if operation.query is not None:
        parameters += _in_query(operation.query)
    if parameters:
        found["parameters"] = parameters
    if operation.body is not None:
        found["requestBody"] = {
            "content": {"application/json": {"schema": _reference(operation.body)}}
        }
    found["responses"] = {
        str(int(operation.status)): _answer(operation),
        "default": {"$ref": "#/components/responses/problem"},
    }
    return found


def _name(path: str, method: str) -> str:
    words = [word for word in re.split(r"[/{}.\-_]+", path) if word]
    return method + "".join(word.capitalize() for word in words)


def _tag(path: str) -> str:
    first = path.split("/")[1]
    if first in ("jobs", "clean", "events"):
        return "jobs"
    return first if first in _TAGS else "server"


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema()
    required = set(schema.get("required", ()))
    found = []
    for name, field in schema["properties"].items():
        inner = {key: value for key, value in _untitled(field).items() if key != "description"}
        entry: dict[str, Any] = {"name": name, "in": "query", "schema": inner}
        if "description" in field:
            entry["description"] = field["description"]
        if name in required:
            entry["required"] = True
        found.append(entry)
    return found


def _answer(operation: Operation) -> dict[str, Any]:
    if operation.answer is not None:
        return _content(_first_line(operation.answer), operation.answer)
    return {"description": "See above.", "content": {operation.media: {"schema": {}}}}


def _content(words: str, model: type[BaseModel]) -> dict[str, Any]:
    return {
        "description": words,
        "content": {"application/json": {"schema": _reference(model)}},
    }


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").partition("\n")[0]


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    models: set[tuple[type[BaseModel], Literal["validation", "serialization"]]] = {
        (Problem, "serialization")
    }
    for operation in operations:
        if operation.body is not None:
            models.add((operation.body, "validation"))
        if operation.answer is not None:
            models.add((operation.answer, "serialization"))
    _, schema = models_json_schema(list(models), ref_template=_REFERENCE)
    return {name: _untitled(found) for name, found in sorted(schema["$defs"].items())}


def _untitled(schema: Any) -> Any:
    """Return a schema without the titles that only repeat its names."""
    if isinstance(schema, dict):
        return {
            key: _untitled(value)
            for key, value in schema.items()
            if key != "title" or not isinstance(value, str)
        }
    return [_untitled(each) for each in schema] if isinstance(schema, list) else schema
