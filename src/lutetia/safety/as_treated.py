"""The same trial with every subject in the arm as treated: the sensitivity analysis after cross-overs.

Who was treated as in no one arm stays in no arm: such subjects count in the pooled columns only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import pandas as pd

from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context

SUFFIX = " as treated"
ANALYSED = ("T3", "T4", "T5", "T7", "T8", "T9", "T10", "T11", "T12")


def as_treated(context: Context) -> Context:
    """The context whose arms are those as treated, in the sets and in every derived frame."""
    arm = {**context.sets.arm, **context.sets.as_treated}
    frames: dict[str, Any] = {}
    for field in fields(context):
        frame = getattr(context, field.name)
        if isinstance(frame, pd.DataFrame) and {"subject_id", "arm"} <= set(frame.columns):
            own = [arm.get(s, a) for s, a in zip(frame["subject_id"], frame["arm"], strict=True)]
            frames[field.name] = frame.assign(arm=pd.Series(own, index=frame.index, dtype="object"))
    return replace(context, sets=replace(context.sets, arm=arm, cross_overs=()), **frames)


def as_treated_tables(
    context: Context, tables: Mapping[str, Callable[[Context], SafetyTable]]
) -> dict[str, SafetyTable]:
    """Tables of the safety set by arm as treated, named such as "T3 as treated"; none where nobody crossed over."""
    if not context.sets.cross_overs:
        return {}
    changed = as_treated(context)
    return {name + SUFFIX: _renamed(tables[name](changed)) for name in ANALYSED if name in tables}


def _renamed(table: SafetyTable) -> SafetyTable:
    name = table.id + SUFFIX
    cells = tuple(replace(cell, table=name) for cell in table.cells)
    return replace(table, id=name, title=f"{table.title}, by arm as treated", cells=cells)
