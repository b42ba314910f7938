"""MkDocs hook: the pages of docs/ as GitHub shows them, made into a site.

A link to a file outside docs/ becomes a link to the repository, a picture outside docs/ is copied
into the site, an entry such as ``how-to/*.md`` of ``nav`` stands for the pages that ``nav`` does
not name, short code such as a flag is not broken into lines, and the Sphinx roles of docstrings
become plain code. A link to a file that does not exist ends ``mkdocs build --strict``.
"""

from __future__ import annotations

import logging
import os
import re
import tomllib
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
LINK = re.compile(r"(!?\[[^\]]*\]\()(\.\.?/[^)#\s]+)((?:#[^)]*)?\))")
SHORT_CODE = re.compile(r"<code>(?=[^<\n]{1,30}</code>)")
ROLE = re.compile(r":(?:class|data|func|meth|mod):(?=<code\b)")
log = logging.getLogger("mkdocs.hooks.site_links")


def on_config(config: MkDocsConfig) -> None:
    """Expand patterns in ``nav``, and link the repository from the foot of each page."""
    config.extra["social"] = [{"icon": "fontawesome/brands/github", "link": REPOSITORY}]
    config.nav = _expanded(config.nav, set(re.findall(r"[\w/.-]+\.md", str(config.nav))))


def _expanded(items: list[Any] | None, named: set[str]) -> list[Any]:
    expanded: list[Any] = []
    for item in items or []:
        if isinstance(item, dict):
            ((title, value),) = item.items()
            expanded.append({title: _expanded(value, named) if isinstance(value, list) else value})
        elif "*" in item:
            pages = sorted(str(path.relative_to(DOCS)) for path in DOCS.glob(item))
            expanded += [page for page in pages if page not in named]
        else:
            expanded.append(item)
    return expanded


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page to files outside docs/."""
    folder = (DOCS / page.file.src_uri).parent

    def rewrite(match: re.Match[str]) -> str:
        start, link, end = match.groups()
        path = Path(os.path.normpath(folder / link))
        if path.is_relative_to(DOCS):
            return match[0]  # MkDocs checks it
        name = path.relative_to(ROOT).as_posix()
        if not path.exists():
            log.warning("%s links to %s, which does not exist", page.file.src_uri, name)
        if not start.startswith("!"):
            return f"{start}{REPOSITORY}/blob/main/{name}{end}"
        source = f"repository/{name}"
        if files.get_file_from_path(source) is None:
            files.append(File.generated(config, source, abs_src_path=str(path)))
        return f"{start}{os.path.relpath(source, Path(page.file.src_uri).parent)}{end}"

    return LINK.sub(rewrite, markdown)


def on_page_content(html: str, **_: object) -> str:
    """Mark short code, which stays on one line; remove the roles of docstrings."""
    html = SHORT_CODE.sub('<code class="short">', html)
    return ROLE.sub("", html).replace("::</p>", ":</p>")
