"""Reports without pictures, for tests that read their words."""

import pytest


def undraw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are built but not written as SVG, which takes most of the time."""
    for module in ("pictures", "cards"):
        monkeypatch.setattr(f"eofuse.reports.{module}.svg_data_uri", lambda figure: "data:,")
