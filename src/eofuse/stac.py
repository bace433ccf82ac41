"""What STAC items (https://stacspec.org) of maps and of exported models share: `class_objects`."""

import re
from collections.abc import Mapping
from typing import Any

STAC_VERSION = "1.1.0"
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"


def class_objects(names: Mapping[int, str], colours: Mapping[int, str] | None = None) -> list[dict[str, Any]]:
    """Classes as the classification extension describes them: a `name` of letters, digits, `-` and `_`, and the title for people.

    The `description`, without which the extension of machine learning models takes none, is the title once more.

    Args:
        names: of the classes by code.
        colours: of the classes by code, #rrggbb.
    """
    plain = {code: re.sub(r"[^0-9A-Za-z-]+", "_", name).strip("_") for code, name in names.items()}
    taken = list(plain.values())
    found = []
    for code, name in names.items():
        is_clear = plain[code] and taken.count(plain[code]) == 1
        described = {
            "value": code,
            "name": plain[code] if is_clear else f"class_{code}",
            "title": name,
            "description": name,
        }
        if colours:
            described["color_hint"] = colours[code].lstrip("#").upper()
        found.append(described)
    return found
