"""Things register themselves, from eofuse's own folders and from other packages."""

import sys
from typing import Annotated

import pytest
from pydantic import AfterValidator, BaseModel, ValidationError

from eofuse.errors import UsageError
from eofuse.registry import Registry


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `sensors` with two modules that register a thing each in `sensors.base.SENSORS`."""
    folder = tmp_path / "sensors"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "base.py").write_text(
        "from eofuse.registry import Registry\nSENSORS = Registry('sensor', 'eofuse.test_sensors', 'sensors')\n"
    )
    for name in ("radar", "optical"):
        code = f"from sensors.base import SENSORS\n@SENSORS.register('{name}')\nclass {name.title()}: ...\n"
        (folder / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("sensors", "elsewhere")]:
        del sys.modules[name]


def plug_in(folder, code):
    """Another package beside it, with an entry point."""
    (folder / "elsewhere.py").write_text(code)
    information = folder / "elsewhere-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[eofuse.test_sensors]\nmine = elsewhere\n")


def sensors():
    from sensors.base import SENSORS

    return SENSORS


def test_modules_of_the_package_register_themselves(package):
    assert list(sensors()) == ["optical", "radar"]
    assert sensors()["radar"].__name__ == "Radar"
    assert sensors().package_of("radar") == "sensors"


def test_other_packages_add_things_by_entry_points(package):
    plug_in(package, "from sensors.base import SENSORS\n@SENSORS.register('thermal')\nclass Thermal: ...\n")
    assert list(sensors()) == ["optical", "radar", "thermal"]
    assert sensors().package_of("thermal") == "elsewhere"


def test_a_name_is_taken_once(package):
    plug_in(package, "from sensors.base import SENSORS\n@SENSORS.register('radar')\nclass Other: ...\n")
    with pytest.raises(UsageError, match=r"the sensor 'radar' is in sensors\.radar and in elsewhere"):
        list(sensors())


def test_a_package_that_fails_at_its_import_is_named(package):
    plug_in(package, "1 / 0\n")
    with pytest.raises(UsageError, match="elsewhere: the sensor 'mine' can't be imported: ZeroDivisionError"):
        sensors()["radar"]


def test_an_unknown_name_is_an_error_with_the_nearest_one(package):
    with pytest.raises(UsageError, match="no sensor 'rader'; did you mean 'radar'"):
        sensors()["rader"]
    assert sensors().get("rader") is None


def test_an_option_takes_names_of_a_registry_only(package):
    class Choice(BaseModel):
        sensor: Annotated[str, AfterValidator(sensors().check)]

    assert Choice(sensor="optical").sensor == "optical"
    with pytest.raises(ValidationError, match="'optic' is no sensor; did you mean 'optical'"):
        Choice(sensor="optic")


def test_a_registry_without_things_says_so():
    empty = Registry("nothing", "eofuse.test_nothing", "eofuse.evaluation")
    with pytest.raises(UsageError, match="there are no valid names here"):
        empty["any"]
