"""What STAC items of maps and models share."""

import re

from eofuse.stac import class_objects


def test_names_of_classes_are_plain_and_differ_and_titles_are_for_people():
    found = class_objects({1: "Tree cover", 2: "a/b", 3: "a b", 4: "水"}, dict.fromkeys(range(1, 5), "#a0b1c2"))
    assert [each["title"] for each in found] == ["Tree cover", "a/b", "a b", "水"]
    assert [each["name"] for each in found] == ["Tree_cover", "class_2", "class_3", "class_4"]
    assert all(re.fullmatch(r"[0-9A-Za-z_-]+", each["name"]) for each in found)
    assert {each["color_hint"] for each in found} == {"A0B1C2"}
