"""What `docs/areas.md` shows runs, in the order in which it stands there."""

import re
import shlex
from pathlib import Path

from eofuse.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "areas.md").read_text(encoding="utf-8")


def test_the_page_on_areas_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sample, area = (
        shlex.split(line, comments=True)[1:] for line in re.findall(r"^eofuse .*", PAGE, flags=re.MULTILINE)
    )
    make_map, label, estimate = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict = {}
    exec(make_map, names)
    assert main(sample) == 0
    exec(label, names)
    exec(estimate, names)
    assert main(area) == 0
    assert "forest" in capsys.readouterr().out
    assert (tmp_path / "points-areas" / "report.html").exists()
