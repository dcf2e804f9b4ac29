"""Pages and JSON API of a trial: a thin face over `lutetia.workflow` (changes) and `lutetia.trial.queries` (reading).

There is no rule, no role test and no physics in this layer. Where to find what:

========================  ==================================================================================
`app.create_app`          builds the application from a trial, the accounts and the settings
`routes.ROUTES`           every page and API route, with the action of `trial.access` that it needs
`navigation.GROUPS`       the entries on the left, each shown to whom its action is permitted
`context.Page`            what a handler gets: the request, the person, the trial; it renders and redirects
`forms`                   typed text of forms, kept when the form is shown again, with one message a field
`session`, `security`     who is signed in; CSRF, headers, limits of rate and size
`problems`                errors as pages (or JSON): 403, 404, 409 with both versions, 422, 500 with a reference
`slices`                  PNG slices of volumes for the slice viewer
`pages/*.py`              one file a page family; `api/*.py` the same for JSON
`templates/`, `static/`   Jinja2 templates (`components.html` has the building blocks), one style sheet, scripts
`texts/en/*.toml`         every word of the interface, one file a page family
========================  ==================================================================================

To add a page family, `vials` say:

1. `texts/en/vials.toml` with one table `[vials]`; templates and handlers say `t("vials.title")`.
2. `templates/vials/list.html` that extends `base.html` and imports `components.html` **with context**.
3. `pages/vials.py` with plain functions::

       def show(page: Page) -> Response:
           return page.render("vials/list.html", vials=queries.vials(page.reader, page.sites("see_subject_data")))

       def add(page: Page) -> Response:
           form = page.form()
           vial = form.read(AddVial)              # a frozen dataclass; on mistakes None, and form.errors is filled
           if vial is None:
               return page.render("vials/list.html", status=422, form=form)
           workflow_vials.add_vial(page.trial, page.actor, vial)
           return page.redirect("/vials", notice="vials.added")

4. One line a route in `routes.py`: method, path, handler, the action it needs, and where its site comes from.
   A path without a line there does not exist; a generated test walks route × role × site.
5. If it belongs on the left, one line in `navigation.py`.

A form that signs shows `{{ c.signature(form, meaning) }}`; its handler calls `page.confirmed(form)` last and hands the
result to the use case. After a change a handler redirects; what it read before is an older state.

Every form has `{{ csrf() }}`; every input comes from a macro of `components.html`, so that it has a label, its hint,
its message and, for a saved value, its history. No inline script or style: the content security policy refuses them.
"""
