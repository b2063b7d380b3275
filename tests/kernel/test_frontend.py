"""The front end's modules, joined to one text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chutes_jupyter.kernel import frontend


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(frontend, "STATIC", tmp_path)
    return tmp_path


def joined(folder: Path, **modules: str) -> str:
    for name, source in modules.items():
        (folder / f"{name}.js").write_text(source)
    return frontend.script.__wrapped__("main")  # as it is by now


def test_modules_come_after_what_they_import_and_once(folder: Path):
    text = joined(
        folder,
        main='import { one } from "./a.js";\nimport { two } from "./b.js";\n'
        "export function render() {\n  return one + two;\n}\n",
        a='import { two } from "./b.js";\nexport const one = two - 1;\n',
        b="/** Said to readers. */\nexport const two = 2;\nclass Own {}\n",
    )
    assert re.findall(r"^const \$(\w+)", text, re.M) == ["b", "a", "main"]
    assert "const { one } = $a;" in text
    assert "return { two };" in text
    assert "Said to readers" not in text
    assert text.rstrip().endswith("export default { render: $main.render };")
    assert not re.search(r"^(import|export) (?!default)", text, re.M)


@pytest.mark.parametrize(
    "source",
    [
        'import main from "./main.js";\n',
        'import * as all from "./main.js";\n',
        'import { a } from "elsewhere";\n',
        "export default 1;\n",
        "export { name };\n",
        "export let changing = 1;\n",
    ],
)
def test_another_form_is_refused(folder: Path, source: str):
    with pytest.raises(ValueError, match=r"main\.js does not keep to the form"):
        joined(folder, main=source)


def test_a_circle_is_refused(folder: Path):
    with pytest.raises(ValueError, match="imports itself, by way of main and a"):
        joined(
            folder,
            main='import { a } from "./a.js";\n',
            a='import { main } from "./main.js";\n',
        )


def test_every_module_is_in_the_text_or_a_start_of_its_own():
    text = frontend.script("panel") + frontend.script("jobs")
    names = {path.stem for path in frontend.STATIC.glob("*.js")}
    assert set(re.findall(r"^const \$(\w+)", text, re.M)) == names


def test_no_module_can_be_given_html():
    # What a worker says is text: `srcdoc`, of a frame without an origin, is the one exception.
    for path in frontend.STATIC.glob("*.js"):
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", source)
        assert ("srcdoc" in source) == (path.stem == "results")
