"""Folders that `eofuse publish` wrote and somebody serves, of which a list says all files: see `eofuse.data.publish.listing`."""

import re
from collections import Counter
from urllib.parse import quote, urljoin, urlsplit

from eofuse.data.download.transfer import RemoteFile, insisting, remote_file, web_address
from eofuse.data.publish.listing import LISTING, parse_listing
from eofuse.data.web import read_json
from eofuse.errors import DataError, UsageError

NAME = re.compile(r"\w[\w .-]{0,99}")
"""What a folder may be called."""


def files_of_folder(url: str, reserved: tuple[str, ...]) -> tuple[str, list[RemoteFile]]:
    """Name and files of a published folder.

    Args:
        url: its address, or that of its list of files.
        reserved: names that no file may have.

    Raises:
        DataError: if the network fails, or nothing is published there.
        UsageError: if the address is none of the web.
    """
    base = web_address(url).removesuffix(LISTING).rstrip("/") + "/"
    if urlsplit(url).query or urlsplit(url).fragment:
        raise UsageError("is no address of a folder", where=url, fix="give it without ? and #")
    where = urljoin(base, LISTING)
    content = insisting(lambda: read_json(where, "the list of files has more than"), where)
    try:
        listing = parse_listing(content)
        if not NAME.fullmatch(listing.name):
            raise ValueError(f"the name {listing.name[:80]!r}")
        files = [
            remote_file(each.path, each.size, f"sha256:{each.sha256}", urljoin(base, quote(each.path)), reserved)
            for each in listing.files
        ]
        own = remote_file(LISTING, len(content), f"sha256:{listing.digest}", where, reserved)
        twice = [key for key, count in Counter(file.key for file in [*files, own]).items() if count > 1]
        if twice:
            raise ValueError(f"two files of the name {twice[0]!r}")
    except (ValueError, LookupError, TypeError, AttributeError, UsageError) as error:
        fix = "give the address of a folder that eofuse publish wrote"
        raise DataError(f"the list of files is not understood ({error})", where=where, fix=fix) from None
    return listing.name, [*files, own]
