"""The commands of the page on maps."""

import re
import shlex
import shutil
from pathlib import Path

from maps_scenes import optical, write

from eofuse.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "maps.md"
SPEC = "name: places\nroot: scenes\nmodalities:\n  optical: {files: '{scene}.tif', bands: [red, nir], nodata: 0}\n"


def test_the_commands_of_the_page_on_maps_run(cover_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(cover_model, tmp_path / "runs" / "cover")
    write(tmp_path / "scenes" / "north.tif", optical(40, 40), nodata=0)
    (tmp_path / "scenes.yaml").write_text(SPEC)
    (block,) = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    for line in block.splitlines():
        assert main(shlex.split(line)[1:]) == 0
    assert (tmp_path / "maps" / "north.tif").exists()
    assert (tmp_path / "north.uncertainty.tif").exists()
