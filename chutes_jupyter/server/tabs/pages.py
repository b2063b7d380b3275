"""The few pages of our own that a tab shows: without scripts, and without secrets."""

from __future__ import annotations

from html import escape

#: For these pages: nothing is loaded, whatever stands in them.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8">{head}
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ font: 14px/1.5 system-ui, sans-serif; margin: 18vh auto; max-width: 34em; padding: 0 1em; }}
h1 {{ font-size: 1.25em; }} p {{ opacity: .8; }} code {{ word-break: break-all; }}
</style></head>
<body data-chutes="{kind}"><h1>{title}</h1>{text}</body></html>
"""
_AGAIN = '<meta http-equiv="refresh" content="1">'


def _page(kind: str, title: str, *paragraphs: str, head: str = "") -> str:
    text = "".join(f"<p>{escape(each)}</p>" for each in paragraphs if each)
    return _PAGE.format(kind=kind, title=escape(title), text=text, head=head)


def entered() -> str:
    """Return the page between the ticket and the app.

    No redirect: the browser would go on as the page of Jupyter that opened this one. From here
    it goes as the tab itself, so that nobody else need be let in.
    """
    return _page("entered", "Opening", head='<meta http-equiv="refresh" content="0; url=/">')


def waiting(port: str, job: str, state: str, trouble: str) -> str:
    """Return the page of a port whose app does not answer yet; it asks again by itself."""
    return _page(
        "waiting",
        f"Waiting for {port} of {job}",
        f"The job is {state}. This page becomes the app as soon as it answers.",
        trouble,
        head=_AGAIN,
    )


def over() -> str:
    """Return the page of a tab whose job is over."""
    return _page(
        "over",
        "The job of this tab is over",
        "Nothing answers here any more. Its log and files are still in Jupyter.",
    )


def nothing() -> str:
    """Return the page of a host or path that is no tab: made up, or of a server that is gone."""
    return _page(
        "nothing",
        "No tab is open here",
        "Open the port of the job again, from its panel or the sidebar.",
    )


def refused(why: str) -> str:
    """Return the page of a tab that the browser has no key to."""
    return _page(
        "refused",
        "This tab was not opened from Jupyter",
        f"It can't be shown: {why}. Open the port again from the job's panel or the sidebar.",
    )


def failed(why: str) -> str:
    """Return the page of a request that no app can get."""
    return _page("failed", "This can't be asked of a job", why)


def leaving(location: str) -> str:
    """Return the page that goes on to another site, as the app wants."""
    target = location.strip()
    web = target.lower().startswith(("http://", "https://", "//"))
    # What the app answers with counts for the page itself, so nothing but an address goes there.
    head = f'<meta http-equiv="refresh" content="0; url={escape(target)}">' if web else ""
    return _page("leaving", "The app leads elsewhere", f"To {target}", head=head)
