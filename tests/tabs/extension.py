"""An extension of a real Jupyter server: it opens tabs for a test, and shows one in a frame."""

from __future__ import annotations

import html
import json
from typing import Any

from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.utils import url_path_join
from tornado.web import authenticated

from chutes_jupyter.errors import ChuteError
from chutes_jupyter.server.handlers import SETTING

#: As the tab of JupyterLab frames a page.
SANDBOX = "allow-scripts allow-forms allow-same-origin allow-downloads allow-modals"
PAGE = """<!doctype html><title>Jupyter</title><div id="secret">of Jupyter's page</div>
<iframe id="tab" src="{url}" sandbox="{sandbox}" style="width: 100%; height: 800px"></iframe>
"""


class Tab(APIHandler):
    @authenticated
    async def post(self) -> None:
        asked: dict[str, Any] = self.get_json_body()
        try:
            job, port = asked.pop("job"), asked.pop("port")
            found = await self.settings[SETTING].tabs.open(job, port, **asked)
        except ChuteError as error:
            self.set_status(409)
            found = {"error": type(error).__name__, "message": str(error)}
        self.finish(json.dumps(found))


class Frame(JupyterHandler):
    @authenticated
    async def get(self) -> None:
        url = html.escape(self.get_argument("url"))
        self.finish(PAGE.format(url=url, sandbox=SANDBOX))


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "tests.tabs.extension"}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    base = serverapp.web_app.settings["base_url"]
    serverapp.web_app.add_handlers(
        ".*$",
        [
            (url_path_join(base, "chutes-test/tab"), Tab),
            (url_path_join(base, "chutes-test/frame"), Frame),
        ],
    )
