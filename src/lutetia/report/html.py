"""A document as one HTML file: style, fonts and pictures inside, no script, nothing fetched."""

from __future__ import annotations

import base64
import re
from functools import cache
from importlib.resources import files

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from lutetia.errors import OutputError
from lutetia.report import palette
from lutetia.report.document import Document, Panel

_FACES = (("Regular", 400, "normal"), ("SemiBold", 600, "normal"), ("Italic", 400, "italic"))


def render_html(document: Document) -> str:
    """The document as a self-contained HTML page.

    Every string of the document is escaped; only pictures drawn by `lutetia.report.figures` are inserted as such.

    Raises
    ------
    OutputError
        If a picture is neither PNG nor SVG, or its SVG could run code or fetch something.
    """
    return _environment().get_template("document.html.j2").render(document=document, style=_style())


@cache
def _environment() -> Environment:
    names = ("document.html.j2",)
    templates = {n: (files("lutetia.report") / "templates" / n).read_text(encoding="utf-8") for n in names}
    environment = Environment(
        loader=DictLoader(templates), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["picture"] = _picture
    environment.filters["css_text"] = _css_text
    return environment


@cache
def _style() -> Markup:
    variables = "".join(f"--{name}:{value};" for name, value in colours().items())
    css = (files("lutetia.report") / "templates" / "document.css").read_text(encoding="utf-8")
    return Markup(f"{_font_faces()}\n:root{{{variables}}}\n{css}")


def colours() -> dict[str, str]:
    """The palette under the names that both templates use."""
    named = {
        n.lower().replace("_", "-"): v for n, v in vars(palette).items() if isinstance(v, str) and v.startswith("#")
    }
    return dict(sorted(named.items()))


def _font_faces() -> str:
    rules = []
    for name, weight, style in _FACES:
        data = (files("lutetia.report") / "fonts" / f"Inter-{name}.subset.woff").read_bytes()
        source = f"url(data:font/woff;base64,{base64.b64encode(data).decode()}) format('woff')"
        rules.append(f"@font-face{{font-family:Inter;font-weight:{weight};font-style:{style};src:{source}}}")
    return "\n".join(rules)


def _picture(panel: Panel) -> Markup:
    if panel.media == "png":
        return Markup('<img alt="" src="data:image/png;base64,{}">').format(base64.b64encode(panel.image).decode())
    return Markup(checked_svg(panel.image))


def _css_text(words: str) -> Markup:
    """Words as the content of a CSS string: everything but plain letters and digits as a hexadecimal escape."""
    return Markup("".join(c if c.isascii() and c.isalnum() else f"\\{ord(c):x} " for c in words))


_FORBIDDEN = re.compile(
    r"<\s*(script|foreignObject|iframe|image|use|style|a)\b|\son\w+\s*=|javascript:|<!", re.IGNORECASE
)


def checked_svg(image: bytes) -> str:
    """SVG text that holds drawing only.

    Raises
    ------
    OutputError
        If it does not start with an svg element, or holds scripts, links, styles or event handlers.
    """
    text = image.decode("utf-8", errors="replace")
    if not text.startswith("<svg "):
        raise OutputError("figure: found a picture that is neither PNG nor SVG; draw it with lutetia.report.figures")
    if found := _FORBIDDEN.search(re.sub(r">[^<]*<", "><", text)):
        raise OutputError(f"figure: found {found[0]!r} in an SVG; expected drawing elements only")
    return text
