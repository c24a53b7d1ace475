"""Executed notebooks as pages that a browser shows."""

import os
from pathlib import Path

from sslauth_utils.base.files import write_text
from sslauth_utils.base.paths import RESULTS

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.55 system-ui, sans-serif; }}
pre {{ overflow-x: auto; background: #f5f7f9; padding: .6rem; font-size: .85rem; }} img {{ max-width: 100%; }}
.jp-OutputArea, .output {{ overflow-x: auto; }} .jp-OutputArea pre {{ background: none; }}
table {{ border-collapse: collapse; font-size: .85rem; }} th, td {{ padding: .2rem .6rem; text-align: right; }}
.anchor-link, .jp-InputPrompt, .jp-OutputPrompt {{ display: none; }}
</style></head><body>
{body}
</body></html>
"""


def notebook_pages(profile: str, page_folder: Path, results: Path = RESULTS) -> list[tuple[str, str]]:
    """(name, link relative to the report's folder) of every executed notebook of `profile`, as HTML beside it.

    One that was made from the same notebook before is kept. The summary, which is being executed, is left out.
    """
    found = []
    for path in sorted((results / profile).glob("[0-8]*/**/executed.ipynb")):
        name = path.parent.relative_to(results / profile).as_posix().replace("/", " · ")
        page = path.with_suffix(".html")
        if not page.is_file() or page.stat().st_mtime < path.stat().st_mtime:
            write_text(page, as_page(path, name))
        found.append((name, os.path.relpath(page, page_folder)))
    return found


def as_page(path: Path, title: str) -> str:
    """The notebook at `path` as one page that needs nothing from outside."""
    from nbconvert import HTMLExporter  # takes a second or two

    body, _ = HTMLExporter(template_name="basic").from_filename(str(path))
    return _PAGE.format(title=title, body=body)
