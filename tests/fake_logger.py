"""A logger that remembers what it gets."""

from typing import ClassVar

from eofuse.learning.loggers import LOGGERS, RunLogger


class Noted(RunLogger):
    """Keeps all its runs in `runs`, by a number."""

    library = "json"
    runs: ClassVar[dict[str, dict]] = {}
    fails_at = ""

    def __init__(self, run, before):
        self._may_fail("begin")
        self.place = before or {"number": str(len(self.runs))}
        self.own = self.runs.setdefault(self.place["number"], {"steps": [], "scores": {}, "closed": []})
        self.own["run"] = run

    def log(self, values, step):
        self._may_fail("log")
        self.own["steps"].append(step)
        self.own["latest"] = values

    def end(self, scores, step):
        self._may_fail("end")
        self.own["scores"] = scores

    def close(self, status):
        self._may_fail("close")
        self.own["closed"].append(status)

    def _may_fail(self, at):
        if at == self.fails_at:
            raise ConnectionError(f"nobody listens at {at}")


def registered(monkeypatch, fails_at=""):
    """The runs of a new logger `noted`."""
    fresh = type("Noted", (Noted,), {"runs": {}, "fails_at": fails_at})
    monkeypatch.setattr(LOGGERS, "_things", {**dict(LOGGERS), "noted": fresh})
    return fresh.runs
