"""Formats of files with pixels or numbers, each of which reads files of its endings; see `eofuse.data.reading.formats.base`."""

from eofuse.data.reading.formats.base import (
    FILE_FORMATS,
    FileFormat,
    Image,
    endings,
    file_states,
    format_of,
    inspect_file,
    is_there,
    open_file,
)

__all__ = [
    "FILE_FORMATS",
    "FileFormat",
    "Image",
    "endings",
    "file_states",
    "format_of",
    "inspect_file",
    "is_there",
    "open_file",
]
