"""Real apps as real jobs, in both kinds of tab, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.tabs.apps import APPS, PATIENCE, press
from tests.tabs.browser import browser
from tests.tabs.jupyter import Jupyter
from tests.tabs.servers import CHAT, PROGRAM, Serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_apps_in_both_kinds_of_tab(jupyter: Jupyter, serve: Serve) -> None:
    chat = serve(CHAT)
    # One that knows its path: it is found there in both kinds of tab.
    streamlit = serve(PROGRAM, data=APPS["streamlit"].data(told=True))
    tensorboard = serve(PROGRAM, data=APPS["tensorboard"].data())
    with browser() as context:
        page = context.new_page()
        frame = page.frame_locator("#tab")

        def show(job: str, **options: Any) -> list[str]:
            opened = jupyter.open(job, **options)
            page.goto(jupyter.frame(opened["url"]))
            notes: list[str] = opened["notes"]
            return notes

        # They are opened at once: the page that waits becomes the app.
        for kind in ({}, {"kind": "path"}):
            show(chat.id, **kind)
            expect(frame.locator("#said li").first).to_have_text("heard hello", timeout=PATIENCE)
            expect(frame.locator("#events li").nth(3)).to_have_text("3", timeout=PATIENCE)
        show(streamlit.id)
        APPS["streamlit"].works(frame)
        notes = show(streamlit.id, kind="path")
        assert any("Streamlit in a sandbox: files can't be uploaded" in note for note in notes)
        assert not any("must be told" in note for note in notes)
        press(frame)
        show(tensorboard.id)
        APPS["tensorboard"].works(frame)
        notes = show(tensorboard.id, kind="path")
        assert any("TensorBoard in a sandbox" in note for note in notes)
        assert any('--path_prefix "$CHUTE_PORT_WEB_PREFIX"' in note for note in notes)
        expect(frame.get_by_text("Data could not be loaded")).to_be_visible(timeout=PATIENCE)
        # The page says by itself that its job is over, when it is loaded again.
        show(chat.id)
        expect(frame.locator("#said li").first).to_have_text("heard hello", timeout=PATIENCE)
        chat.job.cancel()
        chat.job.wait(30)
        page.reload()
        expect(frame.locator("body[data-chutes=over]")).to_be_visible(timeout=PATIENCE)
