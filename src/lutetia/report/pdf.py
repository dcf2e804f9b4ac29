"""A document as PDF, laid out by Typst with the packaged fonts only: the same bytes on every system."""

from __future__ import annotations

import base64
import dataclasses
import json
import struct
from functools import cache
from importlib.resources import as_file, files
from typing import Any

from lutetia.errors import OutputError
from lutetia.report.document import Document, Panel, plain
from lutetia.report.html import checked_svg, colours

_TIMESTAMP = 0


def render_pdf(document: Document) -> bytes:
    """The document as an accessible PDF (PDF/UA-1), A4, with header, footer and page numbers.

    Signs that the packaged fonts lack cost the document the name of that standard, not its existence.
    All text travels as JSON data and is never read as Typst code.

    Raises
    ------
    OutputError
        If a picture is neither PNG nor SVG, or Typst refuses the document.
    """
    pictures: dict[str, bytes] = {}
    data = json.dumps(_document(document, pictures), ensure_ascii=False, sort_keys=True).encode()
    inputs = {"main.typ": _template(), "document.json": data, **pictures}
    try:
        return _compile(inputs, ["ua-1"])
    except RuntimeError:
        return _compile_plainly(inputs)


def _compile_plainly(inputs: dict[str, bytes]) -> bytes:
    """Without the accessibility standard, which refuses documents with signs that the packaged fonts lack."""
    try:
        return _compile(inputs, [])
    except RuntimeError as error:
        raise OutputError(f"report.pdf: Typst could not lay out the document: {error}") from error


def _compile(inputs: dict[str, bytes], standards: list[str]) -> bytes:
    import typst

    compile_pdf: Any = typst.compile  # its stub does not name the mapping of file names to bytes
    with as_file(files("lutetia.report") / "fonts") as fonts:
        pdf: bytes = compile_pdf(
            inputs,
            font_paths=[fonts],
            ignore_system_fonts=True,
            format="pdf",
            timestamp=_TIMESTAMP,
            pdf_standards=standards,
        )
    return pdf


@cache
def _template() -> bytes:
    return (files("lutetia.report") / "templates" / "document.typ").read_bytes()


def _document(document: Document, pictures: dict[str, bytes]) -> dict[str, object]:
    return {
        "title": _data(document.title, pictures),
        "title_text": plain(document.title),
        "subtitle": _data(document.subtitle, pictures),
        "header": list(document.header),
        "footer": list(document.footer),
        "intended_use": document.intended_use,
        "language": document.language,
        "colours": colours(),
        "blocks": _data(document.blocks, pictures),
    }


def _data(value: object, pictures: dict[str, bytes]) -> object:
    if isinstance(value, Panel):
        return {"file": _store(value, pictures), "alt": value.alt}
    if isinstance(value, tuple):
        return [_data(item, pictures) for item in value]
    if isinstance(value, frozenset):
        return sorted(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        kind = getattr(value, "kind", None)
        shown = {k: _data(v, pictures) for k, v in fields.items() if v is not None}
        return shown if kind is None else {"kind": kind, **shown}
    return value


def _store(panel: Panel, pictures: dict[str, bytes]) -> str:
    image = _wrapped_png(panel.image) if panel.media == "png" else checked_svg(panel.image).encode()
    name = f"picture{len(pictures)}.svg"
    pictures[name] = image
    return name


def _wrapped_png(image: bytes) -> bytes:
    """A PNG inside an SVG: files that Typst takes from memory must be text."""
    width, height = struct.unpack(">II", image[16:24])
    data = base64.b64encode(image).decode()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<image width="{width}" height="{height}" href="data:image/png;base64,{data}"/></svg>'
    ).encode()
