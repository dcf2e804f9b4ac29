"""The exception tree: one base, and unknown names that list the known ones."""

from __future__ import annotations

import inspect

import pytest

import lutetia.errors
from lutetia.errors import InputError, LutetiaError, UnknownNameError

OWN = [c for _, c in inspect.getmembers(lutetia.errors, inspect.isclass) if c.__module__ == "lutetia.errors"]


@pytest.mark.parametrize("kind", OWN)
def test_every_error_of_ours_has_the_one_base_and_stands_in_the_drawn_tree(kind: type[Exception]) -> None:
    assert issubclass(kind, LutetiaError)
    assert kind.__name__ in (lutetia.errors.__doc__ or "")
    assert kind.__doc__


@pytest.mark.parametrize("name", ["CaseError", "ImageError", "UnitError", "IdentityError"])
def test_bad_files_and_tables_are_input_errors(name: str) -> None:
    assert issubclass(getattr(lutetia.errors, name), InputError)


def test_an_unknown_name_offers_close_ones_whatever_their_case() -> None:
    error = UnknownNameError("nuclide", "lu177", ["Lu-177", "Y-90"])
    assert str(error) == "unknown nuclide 'lu177'; did you mean Lu-177?"


def test_an_unknown_name_without_close_ones_lists_all_in_order_and_says_where() -> None:
    error = UnknownNameError("protocol", "zzz", ["menda", "duonen"], where="case.toml")
    assert str(error) == "case.toml: unknown protocol 'zzz'; known: duonen, menda"


def test_a_name_that_two_tables_hold_is_listed_once() -> None:
    assert str(UnknownNameError("nuclide", "Lu-1777", ["Lu-177", "Y-90", "Lu-177"])).endswith("did you mean Lu-177?")
    assert str(UnknownNameError("arm", "zzz", ["B", "A", "B"])).endswith("known: A, B")
