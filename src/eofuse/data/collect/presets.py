"""What eofuse knows of public catalogues, of masks of clouds, and of signing: registries, to which other packages can add.

None of the public services can be reached where eofuse is tested: assets, offsets and signing follow their documentation (Element 84,
https://element84.com/earth-search; Microsoft, https://planetarycomputer.microsoft.com/docs). Every key of a spec overrides them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from eofuse.errors import UsageError
from eofuse.registry import Registry

SENTINEL2_ASSETS = {
    "coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "rededge1": "B05", "rededge2": "B06", "rededge3": "B07",
    "nir": "B08", "nir08": "B8A", "nir09": "B09", "swir16": "B11", "swir22": "B12",
}  # fmt: skip
"""Key of an asset of Earth Search → band of Sentinel-2."""

FIRST_BASELINE_WITH_OFFSET = 4.0
BASELINE_OFFSET = -1000.0


@dataclass(frozen=True)
class KnownCollection:
    """A collection of a catalogue.

    Attributes:
        like: modality that eofuse knows, whose dtype, scale, nodata and units hold.
        assets: key of an asset → band.
        changes: whether it has dates that matter; elevation has none.
        baseline: whether values of processing baseline 04.00 and later hold an offset (see `baseline_offset`).
        decibels: whether values are powers.
        attribution: what the licence wants said.
    """

    like: str | None = None
    assets: Mapping[str, str] = field(default_factory=dict)
    changes: bool = True
    baseline: bool = False
    decibels: bool = False
    attribution: str = ""


@dataclass(frozen=True)
class KnownCatalogue:
    """A public catalogue.

    Attributes:
        name: by which a spec names it.
        url: of its API.
        collections: by id.
        sign: name of the hook that signs addresses of its assets, "" for none.
    """

    name: str
    url: str
    collections: Mapping[str, KnownCollection]
    sign: str = ""


@dataclass(frozen=True)
class KnownMask:
    """A mask of clouds and the like.

    Attributes:
        name: by which a spec names it.
        assets: keys that its asset may have.
        classes: codes that are missing, of a map of classes.
        bits: numbers of bits of which any makes a pixel missing, of flags.
    """

    name: str
    assets: tuple[str, ...]
    classes: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()


CATALOGUES: Registry[KnownCatalogue] = Registry("catalogue", "eofuse.catalogues", "eofuse.data.collect.presets")
"""Public catalogues by name."""

MASKS: Registry[KnownMask] = Registry("mask", "eofuse.masks", "eofuse.data.collect.presets")
"""Masks of clouds by name."""

SIGNERS: Registry[Callable[[str], str]] = Registry("signing hook", "eofuse.signers", "eofuse.data.collect.presets")
"""Functions that sign the address of an asset just before it is read."""

_COPERNICUS = "Contains modified Copernicus Sentinel data."
_GLO30 = (
    "Copernicus DEM GLO-30: © DLR e.V. 2010-2014 and © Airbus Defence and Space GmbH 2014-2018, "
    "provided under COPERNICUS by the European Union and ESA."
)
_WORLDCOVER = (
    "© ESA WorldCover project, contains modified Copernicus Sentinel data, "
    "processed by the ESA WorldCover consortium (CC BY 4.0)."
)

MASKS.add(KnownMask("scl", ("scl", "SCL"), classes=(0, 1, 3, 8, 9, 10)))
MASKS.add(KnownMask("qa_pixel", ("qa_pixel", "QA_PIXEL"), bits=(0, 1, 2, 3, 4)))
MASKS.add(KnownMask("fmask", ("Fmask", "fmask"), bits=(1, 2, 3)))

CATALOGUES.add(
    KnownCatalogue(
        "earth-search",
        "https://earth-search.aws.element84.com/v1",
        {
            "sentinel-2-l2a": KnownCollection("s2", SENTINEL2_ASSETS, baseline=True, attribution=_COPERNICUS),
            "sentinel-2-c1-l2a": KnownCollection("s2", SENTINEL2_ASSETS, baseline=True, attribution=_COPERNICUS),
            "cop-dem-glo-30": KnownCollection("elevation", {"data": "elevation"}, changes=False, attribution=_GLO30),
        },
    )
)
CATALOGUES.add(
    KnownCatalogue(
        "planetary-computer",
        "https://planetarycomputer.microsoft.com/api/stac/v1",
        {
            "sentinel-2-l2a": KnownCollection(
                "s2", {band: band for band in SENTINEL2_ASSETS.values()}, baseline=True, attribution=_COPERNICUS
            ),
            "sentinel-1-rtc": KnownCollection("s1", {"vv": "VV", "vh": "VH"}, decibels=True, attribution=_COPERNICUS),
            "cop-dem-glo-30": KnownCollection("elevation", {"data": "elevation"}, changes=False, attribution=_GLO30),
            "esa-worldcover": KnownCollection("worldcover", {"map": "map"}, changes=False, attribution=_WORLDCOVER),
        },
        "planetary_computer",
    )
)


def known_collection(catalogue: str, collection: str) -> KnownCollection | None:
    """What is known of a collection of a catalogue that a spec names; None of others."""
    return CATALOGUES[catalogue].collections.get(collection) if catalogue in CATALOGUES else None


def baseline_offset(properties: Mapping[str, Any]) -> float | None:
    """What is added to values of a Sentinel-2 item so that all baselines mean the same; None if the item names no baseline.

    From baseline 04.00 on, values hold 1000 more. Earth Search says in `earthsearch:boa_offset_applied` that it took it off already.
    """
    text = properties.get("s2:processing_baseline", properties.get("processing:version"))
    try:
        baseline = float(str(text).lstrip("v"))
    except ValueError:
        return None
    if properties.get("earthsearch:boa_offset_applied") is True or baseline < FIRST_BASELINE_WITH_OFFSET:
        return 0.0
    return BASELINE_OFFSET


@SIGNERS.register("planetary_computer")
def _planetary_computer(href: str) -> str:
    try:
        import planetary_computer
    except ImportError:
        fix = "pip install 'eofuse[planetary-computer]'"
        raise UsageError("addresses of the Planetary Computer need a package that signs them", fix=fix) from None
    return str(planetary_computer.sign(href))
