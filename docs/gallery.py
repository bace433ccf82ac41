"""The gallery: the pictures that the chapters of the course draw when the site is built, each with a link to its code."""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

PER_CHAPTER = 6
"""Pictures of a chapter at most; it has the others itself."""

OPENING = """\
# Gallery

Every picture here was drawn while this site was built, by the code of the [course](../course.md). Click one for its chapter. Most
data are **simulated**.
"""


@dataclass(frozen=True)
class Picture:
    """A picture that a chapter drew.

    Attributes:
        heading: of the section.
        png: the bytes of the file.
    """

    heading: str
    png: bytes


def write_gallery(folder: Path, chapters: Mapping[str, NotebookNode]) -> None:
    """Writes the page `gallery.md` and its pictures.

    Args:
        folder: of generated pages, beside that of the course.
        chapters: executed notebooks by the names of their pages.
    """
    (folder / "gallery").mkdir(parents=True, exist_ok=True)
    lines = [OPENING]
    for name, notebook in sorted(chapters.items()):
        pictures = list(pictures_of(notebook))[:PER_CHAPTER]
        if not pictures:
            continue
        title = notebook.cells[0].source.splitlines()[0].lstrip("# ")
        lines.append(f"\n## {title}\n\n::::{{container}} gallery")
        for number, picture in enumerate(pictures):
            path = folder / "gallery" / f"{name}-{number}.png"
            path.write_bytes(picture.png)
            lines += [
                f":::{{figure}} gallery/{path.name}",
                f":target: ../course/{name}.html",
                f":alt: {picture.heading}",
            ]
            lines += ["", picture.heading, ":::"]
        lines.append("::::")
    (folder / "gallery.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def pictures_of(notebook: NotebookNode) -> Iterator[Picture]:
    """The pictures of a chapter in order, without those of folded solutions."""
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            found = re.findall(r"^#+ (.+)$", cell.source, flags=re.MULTILINE)
            heading = found[-1].replace("`", "") if found else heading
        elif "hide-cell" not in cell.metadata.get("tags", []):
            for output in cell.get("outputs", []):
                if png := output.get("data", {}).get("image/png"):
                    yield Picture(heading, base64.b64decode(png))
