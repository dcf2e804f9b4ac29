"""A fault of ours in a log: its kind and the positions in the code, under a reference that a person can quote.

The error's text is left out: it may quote what somebody typed or what stands in a file, and both may hold names.
"""

from __future__ import annotations

import logging
import secrets
import traceback


def positions(error: BaseException) -> str:
    """Where an error came from: file, line and function of every call, without any value."""
    return "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)))


def logged(log: logging.Logger, error: BaseException, where: str) -> str:
    """Write a fault into a log and return its reference; `where` names what was being done, without a value."""
    reference = secrets.token_hex(4).upper()
    log.error("fault %s: %s at %s\n%s", reference, type(error).__name__, where, positions(error))
    return reference
