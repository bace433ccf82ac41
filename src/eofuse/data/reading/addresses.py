"""Addresses of the web and of object storage, under which GDAL reads images in parts."""

SCHEMES = {
    "https://": "/vsicurl/https://",
    "http://": "/vsicurl/http://",
    "s3://": "/vsis3/",
    "gs://": "/vsigs/",
    "az://": "/vsiaz/",
}
"""How an address begins → how GDAL begins it."""

VIRTUAL = "/vsi"
SETTINGS = {
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_CONNECTTIMEOUT": "30",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
}
"""Of GDAL, so that a slow or failing server is asked again, and not for ever."""


def virtual_path(path: str) -> str | None:
    """An address as the path that GDAL reads; None of what is none."""
    if path.startswith(VIRTUAL):
        return path
    return next(
        (f"{start}{path.removeprefix(scheme)}" for scheme, start in SCHEMES.items() if path.startswith(scheme)), None
    )


def is_virtual(path: str) -> bool:
    """Whether a path is that of an address, of which the system knows nothing."""
    return path.startswith(VIRTUAL)
