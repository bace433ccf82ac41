"""What models compute before they see it: vegetation index, slope, the place on the unit sphere, the month as waves."""

import torch
from torch import Tensor, nn


def ndvi(near_infrared: Tensor, red: Tensor) -> Tensor:
    """(NIR − red) / (NIR + red) of stored or physical values; 0 where both are 0."""
    total = near_infrared + red
    return torch.where(total == 0, torch.zeros_like(total), (near_infrared - red) / total)


def slope(elevation: Tensor, pixel_m: float) -> Tensor:
    """Slope in degrees of elevation (B, H, W) in metres, by central differences; 0 along a side of one pixel."""
    steps = [
        torch.gradient(elevation, spacing=pixel_m, dim=axis)[0]
        if elevation.shape[axis] > 1
        else torch.zeros_like(elevation)
        for axis in (1, 2)
    ]
    return torch.rad2deg(torch.atan(torch.hypot(*steps)))


def unit_sphere(places: Tensor) -> Tensor:
    """Longitude and latitude (B, 2) in degrees as x, y, z (B, 3) on the unit sphere."""
    longitude, latitude = torch.deg2rad(places).unbind(1)
    return torch.stack([latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()], dim=1)


def month_waves(width: int) -> Tensor:
    """Sine and cosine of the month, each repeated, (12, width)."""
    angles = torch.arange(12)[:, None] * (2 * torch.pi / 12)
    return torch.cat([angles.sin().expand(-1, width // 2), angles.cos().expand(-1, width // 2)], dim=1)


def month_codes(embedding: nn.Embedding, months: Tensor) -> Tensor:
    """Codes of months from 0, (…, width); of −1, a month that is not known, zeros, which is the mean of all months."""
    codes: Tensor = embedding(months.clamp(min=0))
    return codes * (months >= 0)[..., None]
