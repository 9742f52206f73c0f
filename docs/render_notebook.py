"""Execute a notebook, and write the page that it becomes, light and dark, into a folder; with a picture where Chromium is found.

    python docs/render_notebook.py examples/notebook.ipynb build/notebook

A cell that raises ends it. The notebook itself stays as it is, without outputs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter

TIMEOUT = 120
WIDTH = 1100
SCRIPTS = {
    "require_js_url": "",
    "mathjax_url": "",
    "jquery_url": "",
    "mermaid_js_url": "",
}  # the page asks nobody
LINE = 20  # pixels of a line of code, roughly


def executed(path: Path) -> nbformat.NotebookNode:
    """Return the notebook with its outputs."""
    read = cast("Callable[..., nbformat.NotebookNode]", nbformat.read)  # pyright: ignore[reportUnknownMemberType]
    notebook = read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": path.parent}},
    )
    client.execute()
    return notebook


def shown(cell: nbformat.NotebookNode) -> bool:
    """Say whether a cell has shown a value of the library as HTML; IPython swallows what a representation raises."""
    html = [output.get("data", {}).get("text/html", "") for output in cell.get("outputs", [])]
    return any('class="bacalhau' in each for each in html)


def picture(browser: str, page: Path, dark: bool) -> Path:
    """Have a browser draw the page."""
    target = page.with_suffix(".png")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    size = f"--window-size={WIDTH},{LINE * 240}"
    profile = page.parent / "profile"
    # As root, as in most containers, Chromium has no sandbox; it opens nothing but the page above.
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
    subprocess.run(
        [browser, *flags, scheme, size, f"--screenshot={target}", page.resolve().as_uri()],
        check=True,
        capture_output=True,
        timeout=TIMEOUT,
    )
    shutil.rmtree(profile, ignore_errors=True)
    return target


def main(source: Path, folder: Path) -> None:
    """Render a notebook into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    notebook = executed(source)
    values = [cell for cell in notebook.cells if cell.source.split("\n")[-1].isidentifier()]
    for cell in values:
        if not shown(cell):
            raise SystemExit(f"{source}: cell {cell.id} shows no table and no drawing: {cell.outputs}")
    print(f"{source}: {len(notebook.cells)} cells, {len(values)} of them show a table or a drawing")
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    for theme in ("light", "dark"):
        page, _ = HTMLExporter(theme=theme, **SCRIPTS).from_notebook_node(notebook)  # type: ignore[no-untyped-call]
        target = folder / f"{source.stem}-{theme}.html"
        target.write_text(page, encoding="utf-8")
        print(f"  {target}")
        if browser is not None:
            print(f"  {picture(browser, target, dark=theme == 'dark')}")
    if browser is None:
        print("  no Chromium was found, so there are no pictures")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
