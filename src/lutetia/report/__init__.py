"""Documents: one model (`document`), two renderers (`html`, `pdf`), SVG figures (`figures`), image slices (`slices`).

A block that a document may hold is one frozen class in `document`, one macro in `templates/document.html.j2` and one
function in `templates/document.typ`. What is not here: the words of a report (`lutetia.plan.report`).
"""
