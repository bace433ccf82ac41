"""A catalogue of real pixels, on the disk and served on the loopback."""

from types import SimpleNamespace

import pytest

from range_server import RangeServer
from scene_archive import write_archive


@pytest.fixture(scope="session")
def archive(tmp_path_factory, shared):
    """The catalogue: `path` of its catalog.json, `folder`, `server`, and its `url`."""
    folder = tmp_path_factory.mktemp("archive")
    path = write_archive(folder, shared)
    server = RangeServer(folder)
    yield SimpleNamespace(path=path, folder=folder, server=server, url=f"{server.url}/catalog.json")
    server.close()
