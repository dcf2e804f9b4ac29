"""Both renderers on one document that holds every block: same words, nothing executed, same bytes."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import pytest
from pypdf import PdfReader

from lutetia.errors import OutputError
from lutetia.report import document as doc
from lutetia.report.document import rich
from lutetia.report.figures.canvas import Canvas
from lutetia.report.html import checked_svg, render_html
from lutetia.report.numbers import typeset
from lutetia.report.pdf import render_pdf

HOSTILE = '</style><script>alert("1")</script> #panic("x") *bold* _it_ $x^2$ @ref <l> \\u{41} "q" {{ 7*7 }} // c'


def picture(words: str = "label") -> doc.Panel:
    canvas = Canvas(100, 40)
    canvas.text((5, 20), words)
    return doc.Panel(canvas.svg(), words)


def everything(words: str) -> doc.Document:
    """A document with every block, the words in every place that takes text."""
    text = rich(words)
    return doc.Document(
        title=text,
        subtitle=text,
        header=(words, words),
        footer=(words,),
        intended_use=words,
        blocks=(
            doc.Heading(text, 1),
            doc.Heading(text, 2),
            doc.Heading(text, 3),
            doc.Heading(text, quiet=True),
            doc.Paragraph(
                rich(doc.Span(words, strong=True, tone="danger"), doc.Span(words, emphasis=True, muted=True))
            ),
            doc.Paragraph(
                rich(doc.Span(words, code=True), doc.Span(words, raised=True), doc.Span(words, lowered=True))
            ),
            doc.Callout("danger", text, (text, text), words),
            doc.KeyFigures(
                (doc.KeyFigure(text, text, words, (text,)), doc.KeyFigure(text, text, words=True, tone="ok"))
            ),
            doc.Table((doc.Column(text, words), doc.Column(text, align="right")), ((text, text),), text, (text,)),
            doc.Figure((picture(words), picture(words)), text, 2, (doc.Key("#123456", "dash", text),)),
            doc.ListBlock((text,), "bullet"),
            doc.ListBlock((text,), "number"),
            doc.ListBlock((text,), "checkbox"),
            doc.Facts(((text, text),)),
            doc.Columns(((doc.Paragraph(text),), (doc.Paragraph(text),)), (2.0, 1.0)),
            doc.PageBreak(),
            doc.SignatureBlock((doc.Signature(text, text), doc.Signature(text))),
        ),
    )


class Tags(HTMLParser):
    """Collects tags and the text outside of style."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def pdf_text(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_html_shows_hostile_words_and_runs_nothing() -> None:
    page = Tags()
    page.feed(html := render_html(everything(HOSTILE)))
    assert "script" not in page.tags
    assert not [a for a in page.attributes if a.startswith("on")]
    assert "".join(page.words).count('alert("1")') > 20
    assert html.count("<style>") == 1
    assert html.count("</style>") == 1
    assert "".join(page.words).count("{{ 7*7 }}") > 20


def test_html_fetches_nothing() -> None:
    html = render_html(everything("words"))
    sources = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)|url\(([^)]*)\)""", html)
    assert sources
    assert all((a or b).startswith("data:") for a, b in sources)


def test_pdf_shows_hostile_words_as_they_are() -> None:
    text = squeezed(pdf_text(render_pdf(everything(HOSTILE))))
    assert text.count(squeezed('#panic("x") *bold*')) > 20
    assert squeezed("$x^2$ @ref <l> \\u{41}") in text


def test_every_text_of_a_document_is_in_both_renderings() -> None:
    built = everything("Ω≥µ words 12.3 ± 0.4")
    html, pdf = render_html(built), squeezed(pdf_text(render_pdf(built)))
    words = squeezed("Ω≥µ words 12.3 ± 0.4")
    assert squeezed(html).count(words) >= len(list(doc.texts(built)))
    assert pdf.count(words) >= 25


@pytest.mark.parametrize("words", ["\x00\x0b zero", "", " ", "ż".join("a" * 300), "日本 🙂"])
def test_strange_words_break_neither_renderer(words: str) -> None:
    assert render_html(everything(words))
    assert render_pdf(everything(words)).startswith(b"%PDF")


def test_two_renderings_have_the_same_bytes() -> None:
    built = everything("words")
    assert render_html(built) == render_html(built)
    assert render_pdf(built) == render_pdf(built)


def test_every_pdf_page_carries_the_intended_use_and_its_number() -> None:
    filler = tuple(doc.Paragraph(rich(f"paragraph {n} " * 30)) for n in range(60))
    built = doc.Document(rich("T"), intended_use="For research.", header=("H",), footer=("F",), blocks=filler)
    pages = PdfReader(io.BytesIO(render_pdf(built))).pages
    assert len(pages) > 2
    for number, page in enumerate(pages, start=1):
        assert "For research." in page.extract_text()
        assert f"page {number} of {len(pages)}" in page.extract_text()


def test_pdf_uses_packaged_fonts_only() -> None:
    reader = PdfReader(io.BytesIO(render_pdf(everything("words"))))
    fonts = {
        str(f["/BaseFont"]) for p in reader.pages for f in (o.get_object() for o in p["/Resources"]["/Font"].values())
    }
    assert fonts
    assert {name.split("+")[-1].split("-")[0] for name in fonts} <= {"Inter", "DejaVuSansMono"}


def test_raised_numbers_are_typeset_in_both_renderings() -> None:
    built = doc.Document(rich("T"), blocks=(doc.Paragraph(typeset("Lu-177 given")),))
    assert "<sup>177</sup>Lu given" in render_html(built)
    assert "177Lu given" in squeezed(pdf_text(render_pdf(built))).replace("Lugiven", "Lu given")


@pytest.mark.parametrize(
    "svg",
    [
        b'<svg xmlns="x"><script>1</script></svg>',
        b'<svg xmlns="x" onload="1"></svg>',
        b'<svg xmlns="x"><image href="http://x"/></svg>',
        b'<svg xmlns="x"><style>@import url(x)</style></svg>',
        b"<!DOCTYPE svg><svg></svg>",
        b"GIF89a",
    ],
)
def test_a_picture_that_could_do_more_than_draw_is_refused(svg: bytes) -> None:
    with pytest.raises(OutputError, match="figure: found"):
        checked_svg(svg)


def test_a_row_with_too_few_cells_is_refused() -> None:
    with pytest.raises(OutputError, match="row 0: found 1 cells; expected 2"):
        doc.Table((doc.Column(rich("a")), doc.Column(rich("b"))), ((rich("1"),),))


def test_the_pdf_says_that_it_is_accessible_unless_a_sign_is_missing() -> None:
    def metadata(words: str) -> bytes:
        root = PdfReader(io.BytesIO(render_pdf(everything(words)))).trailer["/Root"]
        return bytes(root["/Metadata"].get_object().get_data())

    assert b"pdfuaid" in metadata("words")
    assert b"pdfuaid" not in metadata("日本")


@pytest.mark.parametrize(("lines", "pages"), [(10, 2), (45, 2), (60, 2), (80, 3)])
def test_a_page_break_starts_a_page_but_leaves_none_nearly_empty(lines: int, pages: int) -> None:
    before = tuple(doc.Paragraph(rich(f"line {n}")) for n in range(lines))
    built = doc.Document(rich("T"), blocks=(*before, doc.PageBreak(), doc.Paragraph(rich("after the break"))))
    found = PdfReader(io.BytesIO(render_pdf(built))).pages
    assert len(found) == pages
    assert "after the break" in found[-1].extract_text()
    assert f"page {pages} of {pages}" in found[-1].extract_text()
