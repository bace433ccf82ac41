"""Settings of the documentation site; `make docs` builds it. Nothing is loaded from elsewhere: the build fails if a page would."""

import os
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import chapters  # noqa: E402
import gallery  # noqa: E402
import reference  # noqa: E402

import eofuse  # noqa: E402

project = "eofuse"
author = "The eofuse developers"
project_copyright = "The eofuse developers, Apache-2.0"
release = version = eofuse.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
exclude_patterns = ["course/notebooks", "course/course-data"]

nb_execution_mode = "cache"  # a chapter is executed when its code changed
nb_execution_cache_path = str(HERE.parent / "build" / "notebooks")
nb_execution_raise_on_error = True
nb_execution_timeout = 300  # seconds a cell
nb_merge_streams = True
os.environ["OMP_NUM_THREADS"] = "1"  # of the notebooks: numbers that a text claims don't depend on the machine's cores
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # a library's remark about notebooks without widgets
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # `eofuse` in a cell

default_role = "code"  # docstrings write `name` as Markdown does
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
add_module_names = False
napoleon_numpy_docstring = False
toc_object_entries = False  # the contents of a page are its headings

html_theme = "furo"
html_title = f"eofuse {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {"sidebar_hide_name": False, "navigation_with_keys": True}

LOADED = re.compile(
    r"<(?:script|img|source|iframe)\b[^>]*\bsrc=\"(?:https?:)?//[^\"]*|<link\b[^>]*\bhref=\"(?:https?:)?//[^\"]*"
)
LOADED_BY_STYLE = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\"']*")


def refuse_what_is_loaded_from_elsewhere(app: Sphinx, exception: Exception | None) -> None:
    """Fails the build if a page or style sheet loads a script, style, picture or font from another host."""
    if exception is not None or app.builder.format != "html":
        return
    for suffix, pattern in (("html", LOADED), ("css", LOADED_BY_STYLE)):
        for path in Path(app.outdir).rglob(f"*.{suffix}"):
            if found := pattern.search(path.read_text(encoding="utf-8")):
                raise ExtensionError(f"{path}: {found.group()} is loaded from elsewhere; keep a copy in docs/_static")


def _write_course(app: Sphinx) -> None:
    course = Path(app.srcdir) / "course"
    chapters.write_chapters(course)
    executed = chapters.execute_chapters(course, Path(nb_execution_cache_path), nb_execution_timeout)
    gallery.write_gallery(Path(app.srcdir) / "generated", executed)


def setup(app: Sphinx) -> dict[str, Any]:
    """Writes the generated pages before the sources are read, and checks the site when it is built."""
    app.connect("builder-inited", lambda app: reference.write_pages(Path(app.srcdir) / "generated"))
    app.connect("builder-inited", _write_course)
    app.connect("build-finished", refuse_what_is_loaded_from_elsewhere)
    return {"parallel_read_safe": True}
