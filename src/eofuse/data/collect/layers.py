"""What the assets of a modality are: which hold its bands, which masks its clouds, and the modality as the store will hold it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from typing import Any

from eofuse.data.collect.items import Item
from eofuse.data.collect.presets import MASKS, KnownCollection
from eofuse.data.collect.spec import CollectLayer, MaskOptions
from eofuse.data.reading.matching import band_names
from eofuse.data.reading.rasters import RasterFile
from eofuse.data.specs.layers import LayerSpec, describe_layer
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.modalities import KNOWN_MODALITIES, Channel, Kind, Modality, find_modality

_PLAIN = ("title", "unit", "embedding", "attribution", "scale", "offset", "nodata", "dtype", "resampling", "categories")
_WIDER = {
    "uint8": ("int16", -32768),
    "uint16": ("int32", -(2**31)),
    "int16": ("int16", -32768),
    "int32": ("int32", -(2**31)),
}
"""Dtype of files that declare no value for nodata → dtype in which they are stored, and that value."""

_NO_DATA_ROLES = {"thumbnail", "overview", "metadata", "visual"}


@dataclass(frozen=True)
class MaskRule:
    """Which asset says what is missing.

    Attributes:
        asset: its key.
        classes: codes that are missing.
        bits: bits of which any makes a pixel missing.
    """

    asset: str
    classes: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """How a modality is made of the assets of items.

    Attributes:
        modality: as the store holds it.
        bands: key of an asset → names of the channels that it holds; () for all of them.
        mask: which pixels are missing.
        added: number that is added; None for that of each item's processing baseline.
        decibels: whether powers are stored in decibels.
        dtype: of the first asset, whose sort the others must have.
    """

    modality: Modality
    bands: Mapping[str, tuple[str, ...]]
    mask: MaskRule | None
    added: float | None
    decibels: bool
    dtype: str

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description, the inverse of `from_dict`."""
        mask = None if self.mask is None else vars(self.mask)
        values = {"modality": self.modality.to_dict(), "bands": dict(self.bands), "mask": mask}
        return {**values, "added": self.added, "decibels": self.decibels, "dtype": self.dtype}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Builds it from its JSON description."""
        mask = values["mask"]
        rule = None if mask is None else MaskRule(mask["asset"], tuple(mask["classes"]), tuple(mask["bits"]))
        bands = {key: tuple(names) for key, names in values["bands"].items()}
        modality = Modality.from_dict(values["modality"])
        return cls(modality, bands, rule, values["added"], values["decibels"], values["dtype"])


def completed(name: str, layer: CollectLayer, known: KnownCollection | None) -> CollectLayer:
    """A layer with what is known of its collection, where the spec says nothing else."""
    if known is None:
        return layer
    changes: dict[str, object] = {}
    if layer.like is None and known.like is not None and name != known.like and not layer.categories:
        changes["like"] = known.like
    if layer.assets is None and known.assets and layer.at is None:
        changes["assets"] = dict(known.assets)
    elif layer.assets is not None and not isinstance(layer.assets, Mapping):
        changes["assets"] = {key: known.assets.get(key, key) for key in layer.assets}
    if layer.time is None and not known.changes:
        changes["time"] = "any"
    if layer.add is None and known.baseline:
        changes["add"] = "baseline"
    if layer.decibels is None and known.decibels:
        changes["decibels"] = True
    if not layer.attribution and known.attribution:
        changes["attribution"] = known.attribution
    return layer.model_copy(update=changes)


def assets_of(name: str, layer: CollectLayer, item: Item) -> dict[str, tuple[str, ...]]:
    """Key of each asset that is read → names of the bands that it holds, () for all that it has.

    Raises:
        UsageError: if an asset is not there, or it is not clear which are meant.
    """
    where = f"modalities.{name}.assets"
    keys = list(item.assets)
    if layer.assets is not None:
        pairs = layer.assets if isinstance(layer.assets, Mapping) else {key: key for key in layer.assets}
        for key in pairs:
            if key not in item.assets:
                raise UsageError(f"item {item.id} has no asset '{key}'", where=where, fix=did_you_mean(key, keys))
        return {key: (band,) if isinstance(band, str) else tuple(band) for key, band in pairs.items()}
    known = _known(name, layer)
    if known is not None and not known.is_categorical and layer.at is None:
        lower = {key.lower(): key for key in keys}
        words = [(word.lower(), each.name) for each in known.channels for word in (each.name, *each.aliases)]
        named = {lower[word]: band for word, band in words if word in lower}
        if len(named) == len(known.channels) or (named and len(known.channels) > 1):
            return {key: (band,) for key, band in named.items()}
    mask = layer.mask.asset if isinstance(layer.mask, MaskOptions) else None
    likely = [key for key, asset in item.assets.items() if not _NO_DATA_ROLES & set(asset.roles) and key != mask]
    likely = [key for key in likely if not item.assets[key].media or fnmatch(item.assets[key].media, "image/*")]
    data = [key for key in likely if "data" in item.assets[key].roles] or likely
    if len(data) == 1:
        return {data[0]: ()}
    fix = f"name them; item {item.id} has: {', '.join(keys[:30])}"
    raise UsageError("which assets hold its bands is not clear", where=where, fix=fix)


def mask_of(name: str, layer: CollectLayer, item: Item) -> MaskRule | None:
    """Which asset of an item says what is missing.

    Raises:
        UsageError: if there is no such rule or asset.
    """
    if layer.mask is None:
        return None
    where = f"modalities.{name}.mask"
    if isinstance(layer.mask, MaskOptions):
        if layer.mask.asset not in item.assets:
            fix = did_you_mean(layer.mask.asset, item.assets)
            raise UsageError(f"item {item.id} has no asset '{layer.mask.asset}'", where=where, fix=fix)
        return MaskRule(layer.mask.asset, layer.mask.classes or (), layer.mask.bits or ())
    if layer.mask not in MASKS:
        fix = f"{did_you_mean(layer.mask, MASKS)}; or give asset and classes or bits"
        raise UsageError(f"'{layer.mask}' is no mask", where=where, fix=fix)
    rule = MASKS[layer.mask]
    key = next((key for key in rule.assets if key in item.assets), None)
    if key is None:
        fix = "name it: mask: {asset: …, classes: […]}"
        raise UsageError(f"item {item.id} has no asset {' or '.join(rule.assets)}", where=where, fix=fix)
    return MaskRule(key, rule.classes, rule.bits)


def recipe_of(
    name: str, layer: CollectLayer, items: Sequence[Item], bands: Mapping[str, tuple[str, ...]], file: RasterFile
) -> Recipe:
    """How a modality is made.

    Args:
        name: of the modality.
        layer: what the spec says, with what is known of the collection.
        items: those that patches take.
        bands: as `assets_of` gives it.
        file: header of the first asset of an item.

    Raises:
        UsageError: if the spec contradicts itself, the files, or what is known of the name.
        DataError: if items declare other physical values than others, or than the spec.
    """
    where = f"modalities.{name}"
    names = [band for each in bands.values() for band in each] or list(band_names(file))
    doubled = next((band for band in names if names.count(band) > 1), None)
    if doubled is not None:
        raise UsageError(f"two assets give the band '{doubled}'", where=f"{where}.assets", fix="rename one")
    known, own = _known(name, layer), dict.fromkeys(names, "")
    if known is not None and layer.at is None:
        if known.is_categorical:
            own = {names[0]: known.channels[0].name}
        elif bands and any(bands.values()):
            own = {band: _own_name(known, band, key, where) for key, each in bands.items() for band in each}
        else:
            own = {band: band for band in known.channel_names} if len(known.channels) == len(names) else own
    modality = _describe(
        name, layer, tuple(own.values()) if all(own.values()) else tuple(names), file, known, items, bands
    )
    if all(own.values()) and not modality.is_categorical:
        modality = replace(
            modality, channels=tuple(_renamed(each, band) for each, band in zip(modality.channels, own, strict=True))
        )
    uses_baseline = (
        layer.add == "baseline"
        or (layer.add is None and modality.name == "s2")
        or (layer.add is None and layer.like == "s2")
    )
    if layer.add == "baseline" and all(item.added is None for item in items):
        found = "no item names its processing baseline (s2:processing_baseline)"
        raise UsageError(found, where=f"{where}.add", fix="give a number, such as 0 or -1000")
    uses_baseline = uses_baseline and any(item.added is not None for item in items)
    if uses_baseline and (silent := next((item for item in items if item.added is None), None)):
        fix = f"give {where}.add, or leave such items out ({where}.where)"
        raise DataError("names no processing baseline, as others do", where=f"{where}, item {silent.id}", fix=fix)
    added = None if uses_baseline else float(layer.add or 0.0)
    _require_same_scale(where, modality, items, list(bands), uses_baseline, layer)
    mask = mask_of(name, layer, items[0])
    return Recipe(modality, dict(bands), mask, added, bool(layer.decibels), file.dtype)


def _known(name: str, layer: CollectLayer) -> Modality | None:
    if layer.like is not None:
        return find_modality(layer.like, KNOWN_MODALITIES)
    found = next((each for each in KNOWN_MODALITIES if each.name == name), None)
    return None if found is not None and found.kind is not Kind.RASTER and layer.at is not None else found


def _own_name(known: Modality, band: str, key: str, where: str) -> str:
    """The name that a known modality has for a band, by its name or the key of its asset."""
    for word in (band, key):
        for channel in known.channels:
            if word.lower() in {each.lower() for each in (channel.name, *channel.aliases)}:
                return channel.name
    if len(known.channels) == 1:
        return known.channels[0].name
    raise UsageError(
        f"'{band}' is no band of {known.name}", where=f"{where}.assets", fix=did_you_mean(band, known.channel_names)
    )


def _renamed(channel: Channel, name: str) -> Channel:
    if name == channel.name or name in channel.aliases:
        return channel
    return replace(channel, name=name, aliases=(channel.name, *channel.aliases))


def _describe(
    name: str,
    layer: CollectLayer,
    channels: tuple[str, ...],
    file: RasterFile,
    known: Modality | None,
    items: Sequence[Item],
    bands: Mapping[str, tuple[str, ...]],
) -> Modality:
    if layer.at == "point":
        units = tuple(Channel(channel, unit=layer.unit_of(channel)) for channel in channels)
        attribution = layer.attribution
        return Modality(name, Kind.VECTOR, units, layer.title or name, attribution=attribution)
    given = {key: getattr(layer, key) for key in _PLAIN if key in layer.model_fields_set or getattr(layer, key)}
    given |= {"like": layer.like} if layer.like else {}
    if layer.kind in ("raster", "category"):
        given["kind"] = layer.kind
    declared = items[0].assets[next(iter(bands))]
    is_map = bool(layer.categories) or layer.kind == "category" or (known is not None and known.is_categorical)
    if known is None and not is_map and layer.add is None and not layer.decibels:
        given.setdefault("scale", declared.scale or None)
        given.setdefault("offset", declared.offset)
    if layer.decibels and known is None:
        given.setdefault("unit", "dB")
    if layer.decibels or layer.choose == "median":
        given.setdefault("dtype", "float32" if layer.decibels else None)
    plain = LayerSpec(
        **{key: value for key, value in given.items() if value is not None}, bands=None if is_map else channels
    )
    dtype = "float32" if layer.decibels else file.dtype
    modality = describe_layer(name, plain, channels, dtype, file.nodata)
    if modality.nodata is None and not modality.is_categorical and modality.dtype in _WIDER:
        if layer.dtype is not None and layer.dtype not in ("int16", "int32"):
            fix = f"set modalities.{name}.nodata to a value that the files do not hold, or leave dtype out"
            raise UsageError("no value stands for pixels without data", where=f"modalities.{name}", fix=fix)
        dtype, nodata = _WIDER[modality.dtype]
        modality = replace(modality, dtype=dtype, nodata=nodata)
    return modality


def _require_same_scale(
    where: str, modality: Modality, items: Sequence[Item], keys: Sequence[str], uses_baseline: bool, layer: CollectLayer
) -> None:
    """Refuses items that declare other physical values than the first, or than what is stored."""
    if modality.is_categorical or layer.scale is not None or layer.offset is not None or layer.decibels:
        return
    wanted: tuple[float, float] | None = None
    first = items[0]
    for item in items:
        for key in keys:
            asset = item.assets.get(key)
            if asset is None or (asset.scale is None and asset.offset is None):
                continue
            given = asset.scale or 1.0, 0.0 if uses_baseline else asset.offset or 0.0
            if wanted is None:
                wanted, first = given, item
            if max(abs(one - other) for one, other in zip(given, wanted, strict=True)) > 1e-9:
                what = f"declares scale {given[0]:g} and offset {given[1]:g}, item {first.id} {wanted[0]:g} and {wanted[1]:g}"
                fix = f"choose those that mean the same with {where}.where, or set {where}.scale and offset"
                raise DataError(what, where=f"{where}, item {item.id}, asset {key}", fix=fix)
    stored = modality.scale, modality.offset + (layer.add if isinstance(layer.add, float) else 0.0) * modality.scale
    if uses_baseline:
        stored = modality.scale, 0.0
    if (
        wanted is not None
        and modality.kind is Kind.RASTER
        and max(abs(a - b) for a, b in zip(wanted, stored, strict=True)) > 1e-9
    ):
        what = f"declares scale {wanted[0]:g} and offset {wanted[1]:g}, {modality.name} means {stored[0]:g} and {stored[1]:g}"
        raise DataError(what, where=f"{where}, item {first.id}", fix=f"set {where}.scale and offset, or another `like`")
