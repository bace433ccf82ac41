"""Images at addresses are read in parts, if the spec allows it; what can't be fetched is named."""

import numpy as np
import pytest

from eofuse.data.store.pack import pack
from eofuse.errors import DataError
from range_server import RangeServer
from table_folder import TableFolder


@pytest.fixture
def served(tmp_path):
    """A table whose column `url` names its images on a server, and the server."""
    table, server = TableFolder(tmp_path), RangeServer(tmp_path)
    start = server.anew()
    table.table["url"] = [f"{start}/optical/{name}.tif" for name in table.table["id"]]
    table.only(optical={"files": "{url}", "bands": ["red", "green", "blue"]})
    yield table, server
    server.close()


def test_images_at_addresses_are_packed_if_the_spec_allows_it(served, tmp_path):
    table, server = served
    with pytest.raises(DataError, match=r"row 1: the path 'http://.*' is an address; .*remote: true"):
        table.open()
    assert not server.requests
    table.spec["remote"] = True
    store = pack(table.save(), tmp_path / "out.store", workers=1)
    assert store.read("optical", range(6))[:, 0, 0, 0].tolist() == [100, 200, 300, 400, 500, 600]
    assert store.index["crs"].unique().tolist() == ["EPSG:32632"]


def test_what_can_not_be_fetched_and_arrays_at_addresses_are_named(served):
    table, server = served
    table.spec["remote"] = True
    (table.path / "optical" / "p2.tif").unlink()
    (problem,) = [each for each in table.open().problems if each.severity == "error"]
    assert "row 3" in problem.where
    assert "can't be fetched" in problem.what
    np.save(table.path / "all.npy", np.zeros((6, 3, 8, 8), np.uint16))
    with pytest.raises(DataError, match="from which images alone are read"):
        table.only(optical={"files": f"{server.url}/all.npy", "rows": True}).open()
