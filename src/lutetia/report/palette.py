"""Every colour of reports and figures, in one place.

Nuclides and series use hues near the Okabe–Ito set, which stay distinguishable with common colour-vision
deficiencies; colours of text keep a contrast of at least 4.5 : 1 on their background.
"""

from __future__ import annotations

INK = "#16212e"
MUTED = "#556270"
RULE = "#d5dbe1"
GRID = "#e8ecf0"
PAPER = "#ffffff"
WASH = "#f4f6f8"
ACCENT = "#12506f"

OK = "#0b6b4f"
OK_WASH = "#e6f4ee"
INFO = "#1c5a8a"
INFO_WASH = "#e8f1f8"
WARNING = "#8a5200"
WARNING_WASH = "#fdf3e0"
DANGER = "#a3211b"
DANGER_WASH = "#fcebea"

SEVERITY: dict[str, tuple[str, str]] = {
    "ok": (OK, OK_WASH),
    "info": (INFO, INFO_WASH),
    "warning": (WARNING, WARNING_WASH),
    "danger": (DANGER, DANGER_WASH),
}

LIMIT = "#a3211b"
SERIES: tuple[str, ...] = ("#0a6aa8", "#d0610a", "#0a8a66", "#9b4f86", "#6b7480")
_NUCLIDE: dict[str, str] = {"Lu-177": SERIES[0], "Y-90": SERIES[1]}
# Arms, in the order of the protocol: no two closer than 22 CIELAB units to normal, deuteranope, protanope or tritanope
# eyes (matrices of Machado 2009); every figure adds a mark of its own shape and words beside the lines.
ARMS: tuple[str, ...] = ("#3f4a54", "#0a8562", "#aa4499", "#8c6d1f")


def arm_colour(position: int) -> str:
    """Colour of the arm at a position, the same in every figure; a fifth arm begins again."""
    return ARMS[position % len(ARMS)]


def nuclide_colour(name: str) -> str:
    """Colour of a nuclide, the same in every figure; nuclides without an own colour share the third."""
    return _NUCLIDE.get(name, SERIES[2])


def mix(colour: str, share: float, *, background: str = PAPER) -> str:
    """Blend of a colour with the background: `share` 1 is the colour, 0 the background."""
    pairs = zip(_channels(colour), _channels(background), strict=True)
    return "#" + "".join(f"{round(share * c + (1.0 - share) * b):02x}" for c, b in pairs)


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours, 1–21 (WCAG 2.2, relative luminance)."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in _channels(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
