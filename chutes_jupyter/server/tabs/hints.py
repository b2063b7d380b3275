"""Which app answers, and how it is told the path that it is at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class App:
    """A program whose pages are known by a mark in them.

    Parameters
    ----------
    name : str
        As people call it.
    mark : str
        Stands in its first page.
    tell : str
        How it is told its prefix; ``{prefix}`` is the name of the variable.
    lacks : str
        What does not work in a sandbox, or "".
    """

    name: str
    mark: str
    tell: str
    lacks: str = ""

    def told(self, variable: str) -> str:
        """Return how it is told its prefix, by the variable that has it."""
        return self.tell.replace("{prefix}", variable)


APPS = (
    App(
        "TensorBoard",
        "<title>tensorboard",
        'tensorboard --path_prefix "${prefix}"',
        "it needs the browser's storage, and stays empty",
    ),
    App(
        "Gradio",
        "gradio_config",
        'demo.launch(root_path=os.environ["{prefix}"])',
    ),
    App(
        "Streamlit",
        "streamlit",
        'streamlit run app.py --server.baseUrlPath "${prefix}" --server.enableCORS false',
        "files can't be uploaded: that needs a cookie",
    ),
    App(
        "Dash",
        "_dash-",
        'Dash(requests_pathname_prefix=os.environ["{prefix}"] + "/")',
    ),
    App("Bokeh", "bokeh", 'bokeh serve --prefix "${prefix}" --allow-websocket-origin "*"'),
    App(
        "MLflow",
        "mlflow",
        'mlflow server --static-prefix "${prefix}"',
        "it needs the browser's storage, and stays empty",
    ),
    App("Vite", "/@vite/client", 'vite --base "${prefix}/"'),
)


def variable(port: str) -> str:
    """Return the environment variable that tells a job the path of a port."""
    return f"CHUTE_PORT_{port.upper()}_PREFIX"


def recognize(page: str) -> App | None:
    """Return the app whose first page this is."""
    lower = page.lower()
    return next((app for app in APPS if app.mark in lower), None)
