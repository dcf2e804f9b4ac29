"""Roles, rights and sites: the one place that says who may do what. Everything that no line grants is denied.

Here: the matrix as text, `require`, `may`, `masked`, `visible_sites`. Not here: which columns masking hides
(`masking`), what a use case checks besides (two different people, states, locks).
To add a right: one line of `RIGHTS`; the letters are s = at the sites granted, a = everywhere, m = everywhere but
masked, - = not at all.
"""

from __future__ import annotations

from lutetia.errors import AccessDeniedError, UnknownNameError
from lutetia.trial.records import Actor

#: Columns of the matrix, in order.
ROLES: tuple[str, ...] = (
    "coordinator",
    "physician",
    "physicist",
    "radiopharmacist",
    "monitor",
    "data_manager",
    "safety_officer",
    "masked_statistician",
    "unmasked_statistician",
    "board",
    "administrator",
    "inspector",
)

_MATRIX = """
                       CO PHY PH RP MO DM SO ST US DB AD IP
enter_data             s  s   s  s  -  -  -  -  -  -  -  -
sign_forms             -  s   -  -  -  -  -  -  -  -  -  -
randomise              s  s   -  -  -  -  -  -  -  -  -  -
see_subject            s  s   s  s  s  a  a  m  a  -  -  a
propose                -  -   s  -  -  -  -  -  -  -  -  -
release                -  s   -  -  -  -  -  -  -  -  -  -
record_administration  -  -   s  s  -  -  -  -  -  -  -  -
manage_queries         -  -   -  -  s  a  a  -  -  -  -  -
answer_query           s  s   s  s  -  -  -  -  -  -  -  -
verify_source          -  -   -  -  s  -  -  -  -  -  -  -
judge_expectedness     -  -   -  -  -  -  a  -  -  -  -  -
lock                   -  -   -  -  -  a  -  -  -  -  -  -
export                 -  -   -  -  -  a  -  m  a  -  -  a
open_report            -  -   -  -  -  a  a  a  a  a  -  a
run_closed_report      -  -   -  -  -  -  -  -  a  -  -  -
read_closed_report     -  -   -  -  -  -  -  -  a  a  -  -
generate_list          -  -   -  -  -  -  -  -  a  -  -  -
manage_users           -  -   -  -  -  -  -  -  -  -  a  -
read_audit             s  s   s  s  s  a  a  m  a  -  m  a
"""

RIGHTS: dict[str, dict[str, str]] = {
    line.split()[0]: {role: scope for role, scope in zip(ROLES, line.split()[1:], strict=True) if scope != "-"}
    for line in _MATRIX.strip().splitlines()[1:]
}

#: Roles that are bound to a site; the others are granted for the whole trial.
SITE_ROLES = frozenset({"coordinator", "physician", "physicist", "radiopharmacist", "monitor"})
#: A person with this role sees nothing unmasked, whatever else is granted.
ALWAYS_MASKED = frozenset({"masked_statistician"})
#: Rights that need an account with a one-time code: signing, randomising, unblinding and the accounts themselves.
SECOND_FACTOR = frozenset(
    {"sign_forms", "randomise", "propose", "release", "run_closed_report", "read_closed_report", "generate_list",
     "manage_users"}
)  # fmt: skip


def require(actor: Actor, action: str, site: str | None = None) -> None:
    """Refuse unless a grant of the actor covers the action, at `site` where one is given.

    Raises
    ------
    AccessDeniedError
        If no grant does, or the action needs a one-time code at sign-in.
    """
    if may(actor, action, site):
        return
    place = f" at site {site}" if site is not None else ""
    if action in SECOND_FACTOR and not actor.second_factor and _granted(actor, action, site):
        raise AccessDeniedError(f"{action}{place}: found a session without one-time code; set one up and sign in again")
    held = ", ".join(sorted(actor.roles)) or "none"
    wanted = ", ".join(sorted(RIGHTS[action]))
    raise AccessDeniedError(f"{action}{place}: found the roles {held}; expected one of {wanted} for this site")


def may(actor: Actor, action: str, site: str | None = None) -> bool:
    """Whether `require` would pass. Without `site`: at some site at least.

    Raises
    ------
    UnknownNameError
        For an action that the matrix does not have.
    """
    if action not in RIGHTS:
        raise UnknownNameError("right", action, RIGHTS)
    return _granted(actor, action, site) and (actor.second_factor or action not in SECOND_FACTOR)


def masked(actor: Actor, action: str = "see_subject") -> bool:
    """Whether arm-revealing values are hidden from the actor when doing this; True for whoever may not do it."""
    if actor.roles & ALWAYS_MASKED:
        return True
    return not any(RIGHTS[action].get(grant.role) in ("s", "a") for grant in actor.grants)


def visible_sites(actor: Actor, action: str = "see_subject") -> frozenset[str] | None:
    """Sites at which the actor may do this; None means all sites."""
    scopes = [(RIGHTS[action].get(grant.role), grant.site) for grant in actor.grants]
    if any(scope in ("a", "m") or (scope == "s" and site is None) for scope, site in scopes):
        return None
    return frozenset(site for scope, site in scopes if scope == "s" and site is not None)


def reads_whole_trail(actor: Actor) -> bool:
    """Whether no row of the audit trail is hidden from the actor: only such a person can say that it was reviewed."""
    return may(actor, "read_audit") and visible_sites(actor, "read_audit") is None and not masked(actor, "read_audit")


def waiting_for_code(actor: Actor) -> tuple[str, ...]:
    """Rights that the actor was granted and that this session lacks, because it was opened without one-time code."""
    held = () if actor.second_factor else sorted(SECOND_FACTOR)
    return tuple(action for action in RIGHTS if action in held and _granted(actor, action, None))


def _granted(actor: Actor, action: str, site: str | None) -> bool:
    sites = visible_sites(actor, action)
    if sites is None:
        return True
    return bool(sites) if site is None else site in sites
