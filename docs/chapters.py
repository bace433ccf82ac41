"""The course as pages: chapters of `course/`, percent scripts, become notebooks that the site executes, and notebooks to download.

`write_chapters` writes them and `execute_chapters` runs those whose code changed, as many at once as there are cores; `conf.py` calls
both before the site is built. MyST-NB finds the outputs in the cache; a chapter that failed it runs once more, and fails the build.
"""

import logging
import re
import shutil
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import jupytext
import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.executors import load_executor
from nbformat import NotebookNode

COURSE = Path(__file__).parents[1] / "course"
DOWNLOADS = "notebooks"
"""Folder below that of the pages, for notebooks to download."""

SHARED_DATA = "eofuse.simulate("
"""In a chapter that begins with the patches of the first one."""

LANGUAGE = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def write_chapters(folder: Path, course: Path = COURSE) -> None:
    """Writes every chapter twice: as a page, and as a notebook to download. What did not change keeps its time."""
    scripts = sorted(course.glob("[0-9]*.py"))
    for script in scripts:
        notebook = read_chapter(script)
        _write_if_changed(folder / DOWNLOADS / f"{script.stem}.ipynb", notebook)
        _write_if_changed(folder / f"{script.stem}.ipynb", as_page(notebook, script.stem))
    for path in [*course.glob("*.csv"), *course.glob("*.png")]:  # what a chapter reads or shows
        shutil.copy2(path, folder / path.name)
    for stale in {*folder.glob("*.ipynb")} - {folder / f"{script.stem}.ipynb" for script in scripts}:
        stale.unlink()


def execute_chapters(folder: Path, cache_folder: Path, timeout: int) -> dict[str, NotebookNode]:
    """Runs the chapters whose outputs the cache lacks, as many at once as there are cores.

    The first chapter makes the data that others share. They wait for it, and those that make data of their own come before them. Of
    each kind the longest scripts come first, so that no long one is left alone at the end.

    Args:
        folder: of the pages.
        cache_folder: of the outputs.
        timeout: seconds that a cell may take.

    Returns:
        Those that ran to their end, by name.
    """
    cache = get_cache(cache_folder)
    records = {path: cache.add_nb_to_project(str(path)) for path in sorted(folder.glob("*.ipynb"))}
    first, *others = records
    others.sort(key=lambda path: -path.stat().st_size)
    sharing = [path for path in others if SHARED_DATA in path.read_text(encoding="utf-8")]
    with ProcessPoolExecutor() as pool:

        def begin(path: Path) -> Future[None]:
            return pool.submit(_execute, cache_folder, records[path].pk, timeout)

        running = [begin(path) for path in (first, *others) if path not in sharing]
        running[0].result()
        running += [begin(path) for path in sharing]
        for each in running:
            each.result()
    executed = {path.stem: _executed(cache, record.uri) for path, record in records.items()}
    return {name: notebook for name, notebook in executed.items() if notebook is not None}


def read_chapter(script: Path) -> NotebookNode:
    """A chapter as a notebook without outputs; the same script gives the same bytes."""
    notebook = jupytext.reads(script.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.metadata = NotebookNode(LANGUAGE)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    return notebook


def as_page(notebook: NotebookNode, name: str) -> NotebookNode:
    """The notebook with a link to itself below the title, and with links to other pages as the site needs them."""
    page = nbformat.from_dict(notebook)
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\(\.\./docs/", "](../", cell.source)
            cell.source = re.sub(r"\]\((\d\d_\w+)\.py\)", r"](\1.ipynb)", cell.source)
    title, *rest = page.cells[0].source.split("\n")
    link = f"{{download}}`Download this chapter as a notebook <{DOWNLOADS}/{name}.ipynb>`"
    page.cells[0].source = "\n".join([title, "", link, *rest])
    return page


def join_streams(notebook: NotebookNode) -> bool:
    """Makes one text of all that a cell wrote to a stream; whether there was something to be joined.

    A command writes in pieces that end anywhere. MyST-NB would begin a new line with each.
    """
    joined = False
    for cell in notebook.cells:
        first: dict[str, NotebookNode] = {}
        kept = []
        for output in cell.get("outputs", []):
            before = first.get(output.get("name", "")) if output.output_type == "stream" else None
            if before is None:
                kept.append(output)
                if output.output_type == "stream":
                    first[output.name] = output
            else:
                before.text += output.text
                joined = True
        if "outputs" in cell:
            cell.outputs = kept
    return joined


def _execute(cache_folder: Path, key: int, timeout: int) -> None:
    """Runs the chapter that the cache has under this key, unless it has its outputs already; in a process of the pool."""
    for name in ("course", "traitlets"):  # of what runs the cells
        logging.getLogger(name).setLevel(logging.WARNING)
    executor = load_executor("local-serial", get_cache(cache_folder), logger=logging.getLogger("course"))
    executor.run_and_cache(filter_pks=[key], timeout=timeout)


def _executed(cache: JupyterCacheAbstract, uri: str) -> NotebookNode | None:
    """A chapter with its outputs, whose streams the cache then has joined; None if it failed."""
    try:
        bundle = cache.get_cache_bundle(cache.match_cache_file(uri).pk)
    except KeyError:
        return None
    if join_streams(bundle.nb):
        joined = CacheBundleIn(bundle.nb, bundle.record.uri, data=bundle.record.data)
        cache.cache_notebook_bundle(joined, check_validity=False, overwrite=True)
    merged: NotebookNode = cache.merge_match_into_file(uri)[1]  # the cache keeps cells of code only
    return merged


def _write_if_changed(path: Path, notebook: NotebookNode) -> None:
    text = nbformat.writes(notebook)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
