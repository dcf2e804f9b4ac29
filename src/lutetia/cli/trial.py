"""`lutetia trial`: make a trial's folder, from a study file, from tables or from an archive; amend or upgrade it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lutetia.cli.output import progress_line

if TYPE_CHECKING:
    from lutetia.trial.store import Trial

_PASSWORD = "LUTETIA_PASSWORD"


def trial(
    data: Annotated[Path, typer.Argument(help="Folder of the trial; new or empty unless --upgrade or --admin.")],
    study: Annotated[
        Path | None,
        typer.Option(
            help="study.toml of a new trial, with the protocol file beside it; with --reason, an amended one."
        ),
    ] = None,
    new_study: Annotated[
        Path | None, typer.Option("--new-study", help="Instead: write a study.toml to be completed, and end.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why: puts the changed --study in force in an existing trial.")
    ] = None,
    tables: Annotated[Path | None, typer.Option(help="Make it from a folder of CSV tables.")] = None,
    archive: Annotated[Path | None, typer.Option(help="Make it from an archive of `lutetia export`.")] = None,
    url: Annotated[
        str | None, typer.Option(help="Empty PostgreSQL database, or env:NAME of a variable with its URL [SQLite].")
    ] = None,
    admin: Annotated[str | None, typer.Option(help="Account name of an administrator to make.")] = None,
    admin_name: Annotated[str | None, typer.Option(help="Printed name of that administrator.")] = None,
    demonstration: Annotated[
        bool, typer.Option("--demonstration", help="Mark the new database for ever as demonstration data.")
    ] = False,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Bring an older database to this program's schema.")
    ] = False,
) -> None:
    """Make a trial, amend its settings or upgrade it: one folder, one database, no server to start.

    Example: lutetia trial DATA --new-study study.toml

    Example: lutetia trial DATA --study study.toml --admin mnowak --admin-name "Maria Nowak"

    Example: lutetia trial DATA --upgrade
    """
    if upgrade:
        _upgraded(data)
        return
    if new_study is not None:
        _write_template(new_study, data)
        return
    if reason is not None:
        _amended(data, study, reason)
        return
    password = None if admin is None else _password_of(admin)  # first: nothing is made for one that is refused
    with progress_line() as show:
        show("making the trial")
        made = _made(data, study=study, tables=tables, archive=archive, url=url, demonstration=demonstration)
    with made as found:
        if admin is not None and password is not None:
            _administrator(found, admin, admin_name or admin, password)
        end = found.head()
        print(f"{data}: {end.sequence} audit rows, head {end.head}")


def _made(
    data: Path, *, study: Path | None, tables: Path | None, archive: Path | None, url: str | None, demonstration: bool
) -> Trial:
    from lutetia.errors import InputError
    from lutetia.trial.exchange import create_from_dataset
    from lutetia.trial.exporting import import_trial
    from lutetia.trial.store import CONFIGURATION, Trial
    from lutetia.workflow.study_file import read_study_file

    given = [name for name in (study, tables, archive) if name is not None]
    if (data / CONFIGURATION).exists() and not given:
        return Trial.open(data)
    if len(given) != 1:
        raise InputError("trial: expected one of --study, --tables and --archive for a new trial; give one of them")
    if archive is not None:
        import_trial(archive, data, url=url)
        return Trial.open(data)
    if tables is not None:
        _noted(read_study_file(tables / "study.toml").warnings)
        return create_from_dataset(data, tables, url=url, **({"demonstration": True} if demonstration else {}))
    checked = read_study_file(given[0])
    described = checked.study(data.resolve().name)
    made = Trial.create(data, study=described, url=url, demonstration=demonstration)
    own = "" if "id" in checked.settings else " (the name of the folder; `id` in study.toml gives another one)"
    print(f"study {described.study_id}{own}: {described.title}; protocol {checked.protocol.name} "
          f"{checked.protocol.version}")  # fmt: skip
    _noted(checked.warnings)
    return made


def _noted(warnings: tuple[str, ...]) -> None:
    for text in warnings:
        print(f"Note: {text}")


def _write_template(path: Path, data: Path) -> None:
    from lutetia.errors import InputError
    from lutetia.workflow.study_file import template

    if path.exists():
        raise InputError(f"--new-study {path}: found a file; expected a new one; nothing was written over it")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(template(), encoding="utf-8")
    print(f"{path}: complete it (docs/reference/study.md), then  lutetia trial {data} --study {path} --admin NAME")


def _amended(data: Path, study: Path | None, reason: str) -> None:
    from lutetia.cli.console import console_actor
    from lutetia.errors import InputError
    from lutetia.trial.store import Trial
    from lutetia.workflow.study_setup import AmendSettings, amend_settings

    if study is None or not study.is_file():
        raise InputError(f"--study {study}: found no file; expected the changed study.toml beside --reason")
    with Trial.open(data) as found:
        amend_settings(found, console_actor("administrator"), AmendSettings(study.read_bytes(), reason))
        print(f"{data}: the amended settings are in force; the earlier ones stay in the trail")


def _password_of(admin: str) -> str:
    import os

    from lutetia.errors import InputError
    from lutetia.trial.accounts import require_account_name
    from lutetia.trial.authentication import MINIMUM_LENGTH

    require_account_name(admin)
    password = os.environ.get(_PASSWORD) or typer.prompt(
        f"Password of the administrator, at least {MINIMUM_LENGTH} characters",
        hide_input=True,
        confirmation_prompt=True,
    )
    if len(password) < MINIMUM_LENGTH:
        raise InputError(
            f"password: found {len(password)} characters; expected at least {MINIMUM_LENGTH}; nothing was made"
        )
    return str(password)


def _administrator(found: Trial, user_id: str, name: str, password: str) -> None:
    from lutetia.trial import accounts
    from lutetia.trial.records import SYSTEM

    with found.read() as reader:
        known = reader.find("users", {"user_id": user_id})
    if known is None:
        accounts.add_user(found, SYSTEM, user_id=user_id, name=name, password=password)
        accounts.grant_role(found, SYSTEM, user_id, role="administrator")
        print(f"{user_id}: administrator; sets up a one-time code at the first sign-in")
        return
    accounts.unlock_user(found, SYSTEM, user_id, reason="reset at the server")
    accounts.set_password(found, SYSTEM, user_id, password=password, must_change=True)
    accounts.reset_totp(found, SYSTEM, user_id, reason="reset at the server")
    print(f"{user_id}: new password; sets up a new one-time code at the next sign-in")


def _upgraded(data: Path) -> None:
    from lutetia.trial.upgrade import upgrade_trial

    done = upgrade_trial(data)
    if done.old == done.new:
        print(f"{data}: has schema {done.new} already; verified, head {done.head}")
        return
    print(f"{data}: schema {done.old} → {done.new}, verified, head {done.head}")
    if done.copy is not None:
        print(f"copy of the old database: {done.copy}")
