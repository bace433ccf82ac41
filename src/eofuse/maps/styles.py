"""Styles for QGIS, which it finds beside a map by their name: a class map opens with names and colours of its classes (`write_style`).

The colours also lie in the GeoTIFF; a GeoTIFF has no place for names that QGIS would read. The format is that of QGIS's layer styles
(`.qml`, https://docs.qgis.org/latest/en/docs/user_manual/appendices/qgis_file_formats.html).
"""

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from eofuse.files import write_text
from eofuse.words import NO_XML, printable

HEADER = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
VERSION = "3.22"
"""Of QGIS, from which on styles are read as they are written here."""


def write_style(path: Path, names: Mapping[int, str], colours: Mapping[int, tuple[int, int, int]]) -> None:
    """Writes the style of a class map.

    Args:
        path: of the style: that of the map with the ending `.qml`.
        names: of classes, by code.
        colours: of class codes, (red, green, blue) from 0 to 255.
    """
    root = ElementTree.Element("qgis", version=VERSION, styleCategories="Symbology")
    renderer = ElementTree.SubElement(
        ElementTree.SubElement(root, "pipe"), "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1"
    )
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for code, rgb in colours.items():
        colour = "#{:02x}{:02x}{:02x}".format(*rgb)
        label = printable(names[code]).translate(NO_XML)
        ElementTree.SubElement(palette, "paletteEntry", value=str(code), label=label, color=colour, alpha="255")
    ElementTree.indent(root, " ")
    write_text(path, HEADER + ElementTree.tostring(root, encoding="unicode") + "\n")
