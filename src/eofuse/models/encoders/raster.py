"""`RasterEncoder`: any timm network over any number of channels, giving a pyramid of maps and a pooled vector.

Networks come as one of three bodies. `_Stages` runs stage after stage and can be cut, which fusion by a shared trunk or
in the middle needs; `_Tokens` (vision transformers) gives maps of tokens; `_Whole` is timm's own feature extractor.

timm, which brings torchvision, takes seconds to import. So it is imported where a network is built: looking at results needs none.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.modalities import Kind, Modality
from eofuse.models.encoders.base import ENCODERS, Encoder
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.parts import Column, Part, tensors_of

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

DEFAULT_ENCODER = "test_resnet"
"""The network used where none is named: a small residual one, which learns fast from scratch; see `benchmarks/encoders.py`."""


BLOCK = r"body\.network\.(?:blocks|layers|stages)\.(\d+)\."
"""Begins the names of tensors in the blocks of a network that is not cut into stages."""


class RasterEncoder(Encoder):
    """A timm network over rasters of any number of channels and any size.

    Every pixel counts: where a network would cut off a remainder (patches of 120 pixels in tokens of 16), the raster is
    padded at its lower right with zeros, which is the mean of normalised values.

    Args:
        name: a timm architecture, for example `resnet18`.
        in_channels: channels of the rasters.
        pixels: whether the maps are looked at: the rasters are then padded to a multiple of the largest stride, so that
            each map has the side of the padded raster divided by its stride.
        weights: tensors of the whole timm network, by its own names, with which it begins; untrained without them. Names that
            timm does not know are passed over, and what they do not name stays untrained.
        modalities: what the channels are; where they have cells, the strides count the pixels of the patch.

    Attributes:
        stem: name of the first convolution; it stays after the convolution was taken out.

    Raises:
        UsageError: if timm has no network of that name, or it can't be built over these channels.
    """

    def __init__(
        self,
        name: str,
        in_channels: int,
        pixels: bool = False,
        weights: Mapping[str, Tensor] | None = None,
        modalities: Sequence[Modality] = (),
    ) -> None:
        super().__init__(modalities, pixels)
        self.name = name
        self.in_channels = in_channels
        body = _build_body(name, in_channels, weights)
        self.body: nn.Module = body
        own = body.sizes
        self.sizes = FeatureSizes(own.vector, own.maps, [stride * self.cell for stride in own.strides])
        self.pad_to = max(body.pad_to, *own.strides) if pixels else body.pad_to
        self.stem = first_convolution(self)[0]
        self.to(memory_format=torch.channels_last)

    def forward(self, rasters: Tensor) -> Features:
        """Features of (B, C, H, W) normalised rasters: the pyramid, and the global average of its last map."""
        return self.encode(prepare_rasters(rasters, self.pad_to))

    def encode(self, rasters: Tensor) -> Features:
        """Features of rasters from `prepare_rasters`, or, after `take_stem`, of what the stem made of them."""
        vector, maps = self.body(rasters)
        return Features(vector, maps, list(self.sizes.strides))

    def layer_numbers(self) -> dict[str, int]:
        """The layer of each tensor: a stage of a convolutional network, or a block of a transformer."""
        return raster_layers(self.state_dict())

    def parts(self, path: str) -> list[Part]:
        """Itself; its first layer is put together by the names of its inputs if it is one convolution over all of them."""
        _, first = first_convolution(self)
        return [raster_part(path, self.name, tensors_of(self, path), self.columns, self.stem, first)]

    @property
    def stages(self) -> nn.ModuleList:
        """The stages in order, each from one map of the pyramid to the next, for rasters from `prepare_rasters`.

        Raises:
            UsageError: if the network does not run stage after stage.
        """
        if isinstance(self.body, _Stages) and not self.body.channels_last:
            return self.body.stages
        raise _cannot_be_cut(self.name)

    @property
    def vision_transformer(self) -> "VisionTransformer | None":
        """The network if it is timm's vision transformer, each of whose tokens is made of a square of pixels; None if not."""
        from timm.layers.patch_embed import PatchEmbed
        from timm.models.vision_transformer import VisionTransformer

        network = self.body.network if isinstance(self.body, _Tokens) else None
        if not isinstance(network, VisionTransformer) or not isinstance(network.patch_embed, PatchEmbed):
            return None
        side = self.sizes.strides[-1] // self.cell
        return network if tuple(network.patch_embed.patch_size) == (side, side) else None

    @contextmanager
    def answering(self, body: nn.Module) -> Iterator[None]:
        """Within this context another body gives vector and maps in place of the encoder's own."""
        own, self.body = self.body, body
        try:
            yield
        finally:
            self.body = own

    def take_stem(self) -> nn.Module:
        """Takes the first convolution out and returns it; from then on `encode` expects what the convolution gives.

        Raises:
            UsageError: if the network does not begin with a convolution that can be taken out.
        """
        path, stem = first_convolution(self.stages)
        if stem is None or stem.in_channels != self.in_channels:
            raise _cannot_be_cut(self.name)
        owner, _, attribute = path.rpartition(".")
        modes = {module: module.training for module in self.modules()}
        self.eval()
        probe = torch.linspace(-1, 1, self.in_channels * 64 * 64).view(1, self.in_channels, 64, 64)
        try:
            with torch.no_grad():
                expected = self.encode(probe).vector
                setattr(self.stages.get_submodule(owner), attribute, nn.Identity())
                same = torch.equal(self.encode(stem(probe)).vector, expected)
        except RuntimeError:
            same = False
        if not same:
            raise _cannot_be_cut(self.name)
        for module, mode in modes.items():
            module.training = mode
        return stem


def prepare_rasters(rasters: Tensor, multiple: int) -> Tensor:
    """The rasters (B, C, H, W), with zeros below and at the right until both sides are multiples.

    In memory the channels come last, with which a training step took 10 to 40 % less time on a CPU.
    """
    height, width = rasters.shape[-2:]
    below, right = -height % multiple, -width % multiple
    padded = F.pad(rasters, (0, right, 0, below)) if below or right else rasters
    return padded.contiguous(memory_format=torch.channels_last)


def first_convolution(network: nn.Module) -> tuple[str, nn.Conv2d | None]:
    """The name of the first two-dimensional convolution of a network, and itself; "" and None if there is none."""
    for path, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            return path, module
    return "", None


def raster_part(
    title: str,
    network: str,
    tensors: Mapping[str, str],
    columns: tuple[Column, ...],
    stem: str,
    first: nn.Conv2d | None,
) -> Part:
    """A part whose tensors have the names of a `RasterEncoder`.

    Args:
        title: where it is, for people.
        network: timm name.
        tensors: by the names in a `RasterEncoder`, the names in the fusion.
        columns: what its channels mean.
        stem: name of the first convolution in a `RasterEncoder`.
        first: that convolution.
    """
    named = first is not None and first.in_channels == len(columns) and first.groups == 1
    layers = raster_layers(tensors)
    start, architecture = f"{stem}.weight" if named else "", network.split(".")[0]
    return Part(title, "raster", tensors, columns, start, layers=layers, network=architecture)


def raster_layers(names: Iterable[str]) -> dict[str, int]:
    """The layer, from 0, of each tensor of a `RasterEncoder`."""
    order: dict[str, int] = {}
    layers = {}
    names = list(names)
    blocks = {name: int(found[1]) for name in names if (found := re.match(BLOCK, name))}
    for name in names:
        if stage := re.match(r"body\.stages\.(\d+)\.", name):
            layers[name] = int(stage[1])
        elif name in blocks:
            layers[name] = blocks[name] + 1
        elif blocks:  # of a transformer: what makes tokens comes first, norms and pooling last
            last = re.match(r"body\.network\.(norm|fc_norm|attn_pool)\b", name)
            layers[name] = max(blocks.values()) + 1 if last else 0
        else:
            child = name.split(".")[2]
            layers[name] = order.setdefault(child, len(order))
    return layers


class _Stages(nn.Module):
    """A network as a list of stages, each of which ends in a map of the pyramid."""

    def __init__(self, stages: Sequence[nn.Module], sizes: FeatureSizes, channels_last: bool) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.sizes = sizes
        self.channels_last = channels_last  # between stages, (B, H, W, C), as in Swin
        _, first = first_convolution(self.stages)
        self.pad_to = sizes.strides[-1] if first is not None and _cuts_remainder(first) else 1

    def forward(self, rasters: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = []
        x = rasters
        for stage in self.stages:
            x = stage(x)
            maps.append(x.permute(0, 3, 1, 2) if self.channels_last else x)
        return maps[-1].mean((2, 3)), maps


class _Tokens(nn.Module):
    """A network whose blocks all work at one resolution, such as a vision transformer: maps at four depths."""

    def __init__(self, network: Any, sizes: FeatureSizes, depths: list[int]) -> None:
        super().__init__()
        self.network = network
        self.sizes = sizes
        self.depths = depths
        self.pad_to = 1 if getattr(network, "dynamic_img_size", False) else max(sizes.strides)

    def forward(self, rasters: Tensor) -> tuple[Tensor, list[Tensor]]:
        last, maps = self.network.forward_intermediates(rasters, indices=self.depths, output_fmt="NCHW")
        return self.network.forward_head(last, pre_logits=True), maps


class _Whole(nn.Module):
    """A network that timm can only run as a whole."""

    def __init__(self, network: Any, sizes: FeatureSizes, channels_last: bool) -> None:
        super().__init__()
        self.network = network
        self.sizes = sizes
        self.channels_last = channels_last
        self.pad_to = max(sizes.strides)

    def forward(self, rasters: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = [x.permute(0, 3, 1, 2) if self.channels_last else x for x in self.network(rasters)]
        return maps[-1].mean((2, 3)), maps


def _build_body(name: str, in_channels: int, weights: Mapping[str, Tensor] | None) -> _Stages | _Tokens | _Whole:
    import timm
    from timm.models import EfficientNetFeatures, FeatureListNet, MobileNetV3Features
    from timm.models._features import FeatureGetterNet

    if name.partition(":")[0] in ENCODERS:
        raise _cannot_be_cut(name)
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, [*ENCODERS, *timm.list_models()], n=3, cutoff=0.5)
        fix = f"the nearest names: {', '.join(near)}" if near else "timm.list_models() gives the names"
        registered = [name for name, encoder in ENCODERS.items() if Kind.RASTER in encoder.kinds]
        fix += f"; besides those of timm there are {', '.join(registered)}" if registered else ""
        raise UsageError(f"unknown encoder '{name}'", fix=fix)
    try:
        network = _create(name, in_channels, weights, features_only=True)
    except (RuntimeError, AttributeError, AssertionError, TypeError, ValueError) as error:
        raise UsageError(f"the encoder '{name}' gives no feature maps ({error})", fix="choose another") from error
    information = network.feature_info
    sizes = FeatureSizes(information.channels()[-1], information.channels(), information.reduction())
    if isinstance(network, FeatureGetterNet):
        return _build_tokens(name, in_channels, weights, sizes)
    channels_last = str(getattr(network, "output_fmt", "NCHW")).endswith("NHWC")
    if isinstance(network, FeatureListNet):
        return _Stages(_group(network.items(), network.return_layers), sizes, channels_last)
    if isinstance(network, EfficientNetFeatures | MobileNetV3Features):
        return _Stages(_group(*_efficientnet_modules(network)), sizes, channels_last)
    return _Whole(network, sizes, channels_last)


def _build_tokens(name: str, in_channels: int, weights: Mapping[str, Tensor] | None, sizes: FeatureSizes) -> _Tokens:
    network = _create(name, in_channels, weights, num_classes=0)
    blocks = len(network.feature_info)
    depths = sorted({max(0, round(blocks * part / 4) - 1) for part in (1, 2, 3, 4)})
    information = [network.feature_info[depth] for depth in depths]
    maps = [level["num_chs"] for level in information]
    strides = [level["reduction"] for level in information]
    return _Tokens(network, FeatureSizes(network.head_hidden_size, maps, strides), depths)


def _create(name: str, in_channels: int, weights: Mapping[str, Tensor] | None, **arguments: Any) -> Any:
    """Builds the network, free to take rasters of any size where it has an option for that."""
    import timm

    vision_transformer: dict[str, Any] = {"dynamic_img_size": True, "dynamic_img_pad": True}
    swin: dict[str, Any] = {"strict_img_size": False}
    if weights is not None:
        arguments |= {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": dict(weights), "custom_load": False}}
    lenient: dict[str, Any] = {} if weights is None else {"pretrained_strict": False}
    for options in (vision_transformer, swin, {}):
        for strictness in (lenient, {}) if lenient else ({},):  # some networks set it themselves
            try:
                return timm.create_model(name, in_chans=in_channels, **options, **strictness, **arguments)
            except TypeError:
                continue
    return timm.create_model(name, in_chans=in_channels, **arguments)


def _efficientnet_modules(network: Any) -> tuple[list[tuple[str, nn.Module]], set[str]]:
    """The modules of an EfficientNet or MobileNet in the order in which they run, and those that end in a map."""
    stem = [(name, module) for name, module in network.named_children() if name in ("conv_stem", "bn1", "act1")]
    blocks = [(f"block{number}", module) for number, module in enumerate(network.blocks, 1)]
    taps = {stem[-1][0] if number == 0 else f"block{number}" for number in network._stage_out_idx}
    return stem + blocks, taps


def _group(modules: Any, taps: Any) -> list[nn.Sequential]:
    """Joins named modules that run in order into stages, each of which ends in one of `taps`."""
    stages, pending = [], []
    for name, module in modules:
        pending.append(module)
        if name in taps:
            stages.append(nn.Sequential(*pending))
            pending = []
    return stages


def _cuts_remainder(convolution: nn.Conv2d) -> bool:
    """Whether a convolution tiles its input, so that pixels beyond the last whole tile are lost."""
    return convolution.stride == convolution.kernel_size and convolution.kernel_size != (1, 1)


def _cannot_be_cut(name: str) -> UsageError:
    return UsageError(
        f"the encoder '{name}' can't be cut into parts, which this fusion needs",
        where="fusion.encoder",
        fix="choose a convolutional network that runs stage after stage, such as resnet18",
    )
