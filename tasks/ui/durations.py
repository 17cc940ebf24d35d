"""Format durations."""

UNITS = (("ms", 0.001, 1_000), ("s", 1, 60), ("min", 60, 60))  # unit, its length [s], and how many make the next one
HOUR = 3_600  # [s]


def rough_duration(seconds: float) -> str:
    """Return a duration in ms, s, min or h, with one decimal below 10, such as 4.2 min or 18 s."""
    for unit, length, most in UNITS:
        if round(seconds / length) < most:
            return _rounded(seconds / length, unit)
    return _rounded(seconds / HOUR, "h")


def _rounded(value: float, unit: str) -> str:
    return f"{value:.0f} {unit}" if round(value, 1) >= 10 else f"{value:.1f} {unit}"
