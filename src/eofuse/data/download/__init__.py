"""Downloads published data: data sets of the archive by name, and folders that `eofuse publish` wrote by address."""

from eofuse.data.download.download import download, is_downloaded
from eofuse.data.download.records import RECORDS

__all__ = ["RECORDS", "download", "is_downloaded"]
