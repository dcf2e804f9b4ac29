"""What a handler gets: the request, the person and the trial; it renders pages and redirects.

`Page` is the type that handlers name: FastAPI fills it in. The guard of each route (`guard`) makes it, after it has
checked the form's token, the session and the route's action.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import Depends, Path, Request
from jinja2 import Environment
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.responses import HTMLResponse, RedirectResponse

from lutetia import __version__
from lutetia.errors import AccessDeniedError, SignatureError, SignInError
from lutetia.trial import access
from lutetia.trial.clock import local_text, utc_text
from lutetia.trial.reader import Reader
from lutetia.trial.records import Actor
from lutetia.trial.signatures import Confirmed, Credentials, confirm
from lutetia.trial.store import Trial
from lutetia.web import navigation
from lutetia.web.forms import Form, values_of
from lutetia.web.routing import OWN_ACCOUNT, PAUSED, PUBLIC, SIGNED_IN, Route
from lutetia.web.security import UNSAFE, RateLimit, check_form_token, form_token
from lutetia.web.session import Session, by_cookie, find, give_visitor, token_of, visitor_secret
from lutetia.web.settings import Settings
from lutetia.web.slices import SliceCache
from lutetia.web.texts import Texts
from lutetia.workflow.course_records import site_zone

#: Cookie that carries the text key of a notice to the next page.
NOTICE = "lutetia-notice"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class PausedError(SignInError):
    """The session is idle or has ended; what was typed is kept and offered again after the password."""


@dataclass(frozen=True, slots=True)
class Study:
    """What every page says about the trial."""

    study_id: str
    name: str
    zone: ZoneInfo
    demonstration: bool
    idle_seconds: int


@dataclass(frozen=True, slots=True)
class Demonstration:
    """Accounts that the sign-in page of a demonstration offers: (user name, role, site), and their one password."""

    accounts: tuple[tuple[str, str, str | None], ...]
    password: str


@dataclass(frozen=True, slots=True)
class Services:
    """What the application was built from."""

    trial: Trial
    settings: Settings
    study: Study
    words: Texts
    templates: Environment
    tries: RateLimit
    slices: SliceCache
    demo: Demonstration | None = None


@dataclass(frozen=True, slots=True)
class PagePart:
    """Which page of a long list is shown."""

    number: int
    pages: int
    rows: int


@dataclass(frozen=True, slots=True)
class Signing:
    """Whether this is the session's first signature (account name and password), and whether codes are set up."""

    first: bool
    codes_on: bool


@dataclass(slots=True)
class PageContext:
    """One request of one person."""

    request: Request
    services: Services
    route: Route
    session: Session | None
    sent: FormData | None = None
    _open: ExitStack = field(default_factory=ExitStack)
    _reader: Reader | None = None
    _zone: ZoneInfo | None = None

    @property
    def trial(self) -> Trial:
        """The trial, for use cases of `lutetia.workflow`."""
        return self.services.trial

    @property
    def t(self) -> Texts:
        """Words of the interface."""
        return self.services.words

    @property
    def actor(self) -> Actor:
        """The person who asks.

        Raises
        ------
        SignInError
            If nobody is signed in.
        """
        if self.session is None:
            raise SignInError("session: found none; sign in")
        return self.session.actor

    @property
    def reader(self) -> Reader:
        """One state of the trial for the whole request; nothing can be written through it."""
        if self._reader is None:
            self._reader = self._open.enter_context(self.trial.read(keep=True))
        return self._reader

    @property
    def zone(self) -> ZoneInfo:
        """Zone of the times that are shown and typed: the site's of the address or of the person, else the study's."""
        return self._zone or self.services.study.zone

    def stands_at(self, site: str | None) -> None:
        """Take times as those of a site; of the person's only one where the address names none."""
        own = {grant.site for grant in self.actor.grants}
        place = site or (next(iter(own)) if len(own) == 1 else None)
        self._zone = site_zone(self.reader, place) if place else None

    @property
    def masked(self) -> bool:
        """Whether arm-revealing values are hidden from the person."""
        return access.masked(self.actor)

    def may(self, action: str, site: str | None = None) -> bool:
        """Whether the person has a right: for showing a button; the use case asks again."""
        return access.may(self.actor, action, site)

    def refuse_masked(self) -> None:
        """Refuse pages that show what reveals the arm.

        Raises
        ------
        AccessDeniedError
            If such values are hidden from the person.
        """
        if self.masked:
            raise AccessDeniedError("page: shows activity or dose; expected a person from whom the arm is not hidden")

    def sites(self, action: str) -> frozenset[str] | None:
        """Sites at which the person has a right; None means all."""
        return access.visible_sites(self.actor, action)

    def paged(self, rows: Sequence[Any], *, size: int = 50) -> tuple[Sequence[Any], PagePart]:
        """The rows of the page that the address asks for, and its place among all."""
        pages = max(1, -(-len(rows) // size))
        number = min(self.number("page"), pages)
        return rows[(number - 1) * size : number * size], PagePart(number, pages, len(rows))

    def argument(self, name: str) -> str:
        """A value of the address's query, stripped; empty where absent."""
        return self.request.query_params.get(name, "").strip()

    def number(self, name: str, *, otherwise: int = 1) -> int:
        """A positive whole number of the address's query."""
        return whole_number(self.argument(name)) or otherwise

    def form(self, family: str, record: Mapping[str, Any] | None = None) -> Form:
        """What was sent; where nothing was sent, a saved record or an empty form.

        Parameters
        ----------
        family
            The labels are the texts `family.field`.
        record
            Values to begin with.
        """
        if self.sent is not None:
            return Form(self.t, family, self.zone, sent_texts(self.sent))
        return self.saved_form(family, record or {})

    def saved_form(self, family: str, record: Mapping[str, Any]) -> Form:
        """A form that begins with a saved record, whatever was sent."""
        return Form(self.t, family, self.zone, values_of(record, self.zone))

    def today(self) -> str:
        """The local date by the trial's clock."""
        return self.trial.clock.now().astimezone(self.zone).date().isoformat()

    def start_of_day(self, form: Form, name: str) -> str | None:
        """The first instant (UTC text) of the local day in a form's field; None where it is blank or wrong."""
        day = form.day(name)
        return None if day is None else utc_text(datetime.combine(day, time.min, self.zone))

    def end_of_day(self, form: Form, name: str) -> str | None:
        """The last instant (UTC text) of the local day in a form's field; None where it is blank or wrong."""
        day = form.day(name)
        return None if day is None else utc_text(datetime.combine(day, time.max, self.zone))

    def signing(self) -> Signing:
        """What the next signature of this session asks for; templates call it through the macro `signature`."""
        found = self.reader.find("sessions", {"session_id": self.actor.session_id})
        first = found is None or found["signed_at"] is None
        return Signing(first, self.session is not None and self.session.codes_on)

    def confirmed(self, form: Form, *, role: str | None = None) -> Confirmed | None:
        """The person's confirmation of a signature from the fields of the macro `signature`; else messages on the form.

        Call it last, when all else on the form is right: a one-time code is good once.
        """
        self.services.tries.take(f"session {self.actor.session_id}")
        code = form.value("sign_code").strip() or None
        given = Credentials(form.value("sign_user").strip() or None, form.value("sign_password") or None, code)
        try:
            return confirm(self.trial, self.actor, given, role=role)
        except SignatureError as error:
            form.errors["sign_password"] = str(error)
            return None

    def upload(self, name: str) -> tuple[str, bytes] | None:
        """File name and bytes of an uploaded file, or None."""
        found = self.sent.get(name) if self.sent is not None else None
        if not isinstance(found, UploadFile) or not found.filename:
            return None
        found.file.seek(0)
        return found.filename.replace("\\", "/").rpartition("/")[2], found.file.read()

    def local(self, stored: str | None) -> str:
        """A stored instant as local time with its zone, a date as it is, nothing as a dash."""
        if not stored:
            return "–"
        return stored if len(stored) <= 10 else local_text(stored, self.zone.key)

    def render(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A page or a fragment from a template."""
        found = self.services.templates.get_template(template)
        response = HTMLResponse(found.render({**self._frame(), **values}), status_code=status)
        give_visitor(self.request, response, self.services.settings)
        if NOTICE in self.request.cookies and "hx-request" not in self.request.headers:
            response.delete_cookie(NOTICE, path="/")
        return response

    def redirect(self, path: str, *, notice: str = "") -> RedirectResponse:
        """Go to a page of ours, which then shows the words of the text `notice`.

        Raises
        ------
        UnknownNameError
            If no text has the key.
        """
        response = RedirectResponse(path, status_code=303)
        if notice:
            self.t(notice)
            response.set_cookie(NOTICE, notice, path="/", max_age=60, httponly=True, samesite="strict")
        return response

    def close(self) -> None:
        """Give the database connection back; a later reading begins anew, on the state of then."""
        self._reader = None
        self._open.close()

    @property
    def token(self) -> str:
        """The session's token as the browser sent it, empty where there is none."""
        return token_of(self.request, self.services.settings) or ""

    @property
    def csrf_token(self) -> str:
        """Token of this page's forms."""
        return form_token(self.token if self.session is not None and self.token else visitor_secret(self.request))

    def _frame(self) -> dict[str, Any]:
        """What `base.html` needs."""
        study, session = self.services.study, self.session
        signed_in = session is not None and session.state == "open"
        notice = self.request.cookies.get(NOTICE, "")
        return {
            "local": self.local,
            "csrf_token": self.csrf_token,
            "study_id": study.study_id,
            "study_name": study.name,
            "zone": self.zone.key,
            "demonstration": study.demonstration,
            "software_version": __version__,
            "where": self._where(),
            "notice": self.t.known(notice, otherwise="") if notice else "",
            "idle_seconds": self.services.study.idle_seconds if signed_in else 0,
            "person": self._person(),
            "codes_on": session.codes_on if session else False,
            "navigation": navigation.groups(self.actor, self.t, self.request.url.path) if signed_in else (),
            "may": self.may,
            "signing": self.signing,
            "query": dict(self.request.query_params),
        }

    def _person(self) -> dict[str, str]:
        if self.session is None:
            return {"name": "", "roles": ""}
        roles = [self.t.known(f"role.{r}", otherwise=r) for r in sorted(self.actor.roles)]
        return {"name": self.actor.name, "roles": ", ".join(roles)}

    def _where(self) -> str:
        if self.session is None:
            return self.services.study.name
        sites = sorted({g.site for g in self.actor.grants if g.site is not None})
        return " · ".join((self.services.study.name, ", ".join(sites) or self.t("frame.all_sites")))


def whole_number(text: str) -> int | None:
    """The number that a text from outside means, from 0 to 999 999 999; None for everything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def current(request: Request) -> PageContext:
    """The page that the guard of this route made."""
    page: PageContext = request.state.page
    return page


Page = Annotated[PageContext, Depends(current)]
#: Number of a record in an address; none is larger.
RecordNumber = Annotated[int, Path(ge=0, le=2**31 - 1)]


def guard(route: Route) -> Callable[[Request], AsyncIterator[None]]:
    """The check before a route's handler: token of the form, session, action at the site; it makes the page."""

    async def checked(request: Request) -> AsyncIterator[None]:
        services: Services = request.app.state.services
        page = request.state.page = PageContext(request, services, route, None)
        try:
            if route.uploads:
                await run_in_threadpool(_expect, page)
            page.sent = await _sent(request)
            await run_in_threadpool(_open, page)
            yield
        finally:
            await run_in_threadpool(page.close)
            if page.sent is not None:
                await page.sent.close()

    return checked


def _expect(page: PageContext) -> None:
    """Refuse before a large body is read who is not to send it; what a paused person typed is read and kept."""
    _find_session(page)
    if page.session is None or page.session.state == "open":
        _admit(page)
    page.close()


def _find_session(page: PageContext) -> None:
    route, token = page.route, page.token
    if token:
        page.session = find(
            page.trial, token, use=route.action != PAUSED, by_person=not route.by_itself, reader=page.reader
        )


def _open(page: PageContext) -> None:
    _find_session(page)
    request, route, session, sent = page.request, page.route, page.session, page.sent
    if request.method in UNSAFE and by_cookie(request) and not (route.is_api and route.action == PUBLIC):
        secret = page.token if session is not None else visitor_secret(request)
        found = sent.get("csrf") if sent is not None else None
        header = request.headers.get("x-csrf-token")
        check_form_token(
            secret, found if isinstance(found, str) else header, fetch_site=request.headers.get("sec-fetch-site")
        )
    if route.action != PUBLIC:
        _admit(page)
    if request.method in UNSAFE:
        page.close()  # what the handler reads before and after its change is not the state of the check


def _admit(page: PageContext) -> None:
    """Refuse who is not signed in, has paused, must first change the password, or lacks the route's right."""
    session, route = page.session, page.route
    if session is None:
        raise SignInError("session: found none; sign in")
    if route.action == PAUSED:
        return
    if session.state != "open":
        raise PausedError(f"session: found it {session.state}; give the password again")
    if route.action == OWN_ACCOUNT:
        return
    if session.must_change_password:
        raise PasswordDueError("account: found a password that the administrator chose; choose your own first")
    if route.action == SIGNED_IN:
        return
    access.require(session.actor, route.action)  # first: whether the thing in the address exists is told to no other
    site = route.site_of(page.reader, page.request.path_params)
    access.require(session.actor, route.action, site)
    page.stands_at(site)


class PasswordDueError(AccessDeniedError):
    """The person must choose an own password first."""


async def _sent(request: Request) -> FormData | None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method in UNSAFE and kind in _FORMS:
        # The body is bounded by its address (`security.BodyLimit`); one field may be all of it, such as a table.
        most = request.app.state.services.settings.upload_bytes
        return await request.form(max_files=2000, max_fields=2000, max_part_size=most)
    return None


def sent_texts(sent: FormData) -> dict[str, list[str]]:
    """The texts of a form by field, without its token."""
    found: dict[str, list[str]] = {}
    for name, value in sent.multi_items():
        if isinstance(value, str) and name != "csrf":
            found.setdefault(name, []).append(value)
    return found
