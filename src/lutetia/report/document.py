"""The document model: what a report says, without how it looks.

Text is `Inline`: a tuple of `Span`. A plain string is never markup: both renderers escape it.
To add a block: a frozen class here with its `kind`, a macro in `templates/document.html.j2`, a function in
`templates/document.typ`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from lutetia.errors import OutputError

Severity = Literal["ok", "info", "warning", "danger"]
Align = Literal["left", "right", "center"]
ListStyle = Literal["bullet", "number", "checkbox"]


@dataclass(frozen=True, slots=True)
class Span:
    """A run of text in one style; `whole` ones are not broken over lines."""

    text: str
    strong: bool = False
    emphasis: bool = False
    raised: bool = False
    lowered: bool = False
    muted: bool = False
    code: bool = False
    tone: Severity | None = None
    whole: bool = False


Inline = tuple[Span, ...]
Text = str | Span | Inline


def rich(*parts: Text) -> Inline:
    """Join strings, spans and inline texts to one inline text."""
    spans: list[Span] = []
    for part in parts:
        if isinstance(part, str):
            spans.extend([Span(part)] if part else [])
        elif isinstance(part, Span):
            spans.append(part)
        else:
            spans.extend(part)
    return tuple(spans)


def styled(
    text: Inline, *, strong: bool | None = None, muted: bool | None = None, tone: Severity | None = None
) -> Inline:
    """The same text with one or more styles set on every span."""
    return tuple(
        dataclasses.replace(
            span,
            strong=span.strong if strong is None else strong,
            muted=span.muted if muted is None else muted,
            tone=tone or span.tone,
        )
        for span in text
    )


def plain(text: Inline) -> str:
    """The characters of an inline text; raised digits become Unicode superscripts."""
    return "".join(superscript(s.text) if s.raised else s.text for s in text)


def superscript(text: str) -> str:
    """Digits and signs as Unicode superscripts; other characters unchanged."""
    return text.translate(str.maketrans("0123456789+-−m", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ᵐ"))


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of level 1 to 3; the title of the document is not one of them. `quiet` ones of level 1 are small."""

    kind: ClassVar[str] = "heading"
    text: Inline
    level: int = 1
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    kind: ClassVar[str] = "paragraph"
    text: Inline
    small: bool = False


@dataclass(frozen=True, slots=True)
class Callout:
    """A boxed message: its severity is said by colour and by a word, never by colour alone."""

    kind: ClassVar[str] = "callout"
    severity: Severity
    title: Inline
    body: tuple[Inline, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """One big number with its unit, what it is, and a line below."""

    label: Inline
    value: Inline
    unit: str = ""
    details: tuple[Inline, ...] = ()
    tone: Severity | None = None
    words: bool = False


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """A strip of big numbers."""

    kind: ClassVar[str] = "key_figures"
    items: tuple[KeyFigure, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `width` is its relative width in print (0: as wide as its text)."""

    title: Inline
    unit: str = ""
    align: Align = "left"
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under columns; the first cell of a row names the row.

    `levels` indents the name of every row below the row that it belongs to (empty: no row is indented); with levels, a
    row whose other cells are empty is a heading across the table. `many` marks a table that may run over pages.

    Raises
    ------
    OutputError
        If a row has not one cell per column.
    """

    kind: ClassVar[str] = "table"
    columns: tuple[Column, ...]
    rows: tuple[tuple[Inline, ...], ...]
    caption: Inline = ()
    notes: tuple[Inline, ...] = ()
    emphasised: frozenset[int] = frozenset()
    grouped: frozenset[int] = frozenset()
    levels: tuple[int, ...] = ()
    many: bool = False

    def __post_init__(self) -> None:
        if self.levels and len(self.levels) != len(self.rows):
            raise OutputError(f"table: found {len(self.levels)} levels; expected {len(self.rows)}, one per row")
        wrong = [n for n, row in enumerate(self.rows) if len(row) != len(self.columns)]
        if wrong:
            found = len(self.rows[wrong[0]])
            raise OutputError(
                f"table row {wrong[0]}: found {found} cells; expected {len(self.columns)}, one per column"
            )


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a figure: SVG text or PNG bytes, and what a person who cannot see it must know."""

    image: bytes
    alt: str

    @property
    def media(self) -> Literal["svg", "png"]:
        """Type of the picture, from its first bytes."""
        return "png" if self.image.startswith(b"\x89PNG\r\n\x1a\n") else "svg"


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a legend: a mark in a colour and its words."""

    colour: str
    shape: Literal["box", "open", "line", "dash", "point"]
    words: Inline


@dataclass(frozen=True, slots=True)
class Figure:
    """One or more pictures of equal width, `columns` beside each other on paper, with one caption."""

    kind: ClassVar[str] = "figure"
    panels: tuple[Panel, ...]
    caption: Inline = ()
    columns: int = 1
    legend: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class ListBlock:
    """A list: bullets, numbers, or boxes to tick."""

    kind: ClassVar[str] = "list"
    items: tuple[Inline, ...]
    style: ListStyle = "bullet"


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and their values."""

    kind: ClassVar[str] = "facts"
    items: tuple[tuple[Inline, Inline], ...]


@dataclass(frozen=True, slots=True)
class PageBreak:
    """A new page in print; a rule on screen."""

    kind: ClassVar[str] = "page_break"


@dataclass(frozen=True, slots=True)
class Signature:
    """One person to sign."""

    role: Inline
    note: Inline = ()


@dataclass(frozen=True, slots=True)
class SignatureBlock:
    """Lines for name, signature and date of each person."""

    kind: ClassVar[str] = "signatures"
    people: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """Blocks beside each other on paper and wide screens, below each other on narrow ones."""

    kind: ClassVar[str] = "columns"
    columns: tuple[tuple[Block, ...], ...]
    weights: tuple[float, ...] = ()


Block = (
    Heading
    | Paragraph
    | Callout
    | KeyFigures
    | Table
    | Figure
    | ListBlock
    | Facts
    | PageBreak
    | SignatureBlock
    | Columns
)


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report.

    `header` is printed on top of every page, `footer` at the bottom of every page beside "page x of y"; `intended_use`
    is the line that every page carries; `stamp`, where there is one, stands on top of every printed page of the HTML.
    """

    title: Inline
    subtitle: Inline = ()
    header: tuple[str, ...] = ()
    footer: tuple[str, ...] = ()
    intended_use: str = ""
    stamp: str = ""
    language: str = "en"
    blocks: tuple[Block, ...] = field(default=())


def walk(blocks: Iterable[Block]) -> Iterator[Block]:
    """Every block in reading order, those inside `Columns` too."""
    for block in blocks:
        if isinstance(block, Columns):
            for column in block.columns:
                yield from walk(column)
        else:
            yield block


def texts(document: Document) -> Iterator[str]:
    """Every piece of text of a document as plain strings, in reading order; alternative texts of pictures too."""
    yield plain(document.title)
    yield plain(document.subtitle)
    yield from (*document.header, *document.footer, document.intended_use)
    for block in walk(document.blocks):
        yield from _strings(block)


_LOOKS = frozenset({"severity", "tone", "align", "style", "colour", "shape"})


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple) and value and all(isinstance(v, Span) for v in value):
        yield plain(value)
    elif isinstance(value, tuple):
        for item in value:
            yield from _strings(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for each in (f for f in dataclasses.fields(value) if f.name not in _LOOKS):
            yield from _strings(getattr(value, each.name))
