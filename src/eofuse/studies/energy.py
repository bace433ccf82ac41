"""Energy that the processors report, where the operating system tells."""

from pathlib import Path

COUNTERS = Path("/sys/class/powercap")


def read_energy_joules() -> float | None:
    """Sum of the processor packages' energy counters (Intel RAPL) in joules; None if they can't be read."""
    total = None
    for counter in sorted(COUNTERS.glob("intel-rapl:?/energy_uj")):
        try:
            total = (total or 0.0) + int(counter.read_text()) / 1e6
        except (OSError, ValueError):
            return None
    return total
