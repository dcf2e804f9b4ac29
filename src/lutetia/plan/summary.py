"""The proposal as a few lines of text, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """State, activities, limits, reasons and open conditions of a result."""
    protocol, prescription = result["protocol"], result["prescription"]
    head = (
        f"Subject {result['subject']['id']}   protocol {protocol['name']} {protocol['version']}   arm {protocol['arm']}"
    )
    lines = [head, "", *_proposal(prescription), ""]
    lines += _limits(result["limits"])
    lines += [f"- {reason}" for reason in prescription["reasons"]]
    if prescription["conditions"]:
        lines += ["", "Open before signing:", *(f"- {text}" for text in prescription["conditions"])]
    lines += _warnings(result["warnings"])
    return [*lines, "", "For research and trial use under a protocol; a person signs; not a medical device."]


def _proposal(prescription: Mapping[str, Any]) -> list[str]:
    title = f"Cycle {prescription['cycle']}: {prescription['state']}"
    activities = prescription["activities_MBq"]
    if activities is None:
        return [f"{title}, no activity is proposed"]
    bound = f"set by {prescription['bound_by']}" if prescription["bound_by"] else ""
    rows = [
        f"  {name:<7} {activity:>8,.0f} MBq   {prescription['category'].get(name, '')}"
        for name, activity in activities.items()
    ]
    return [f"{title}   ({bound})", *rows]


def _limits(limits: Sequence[Mapping[str, Any]]) -> list[str]:
    header = f"{'limit':<16}{'Gy':>7}{'given':>9}{'after cycle':>13}{'end of course':>15}{'P(over)':>9}"
    rows = [
        f"{limit['id']:<16}{limit['limit_Gy']:>7.3g}{_number(limit['given_Gy']):>9}"
        f"{_number(limit['predicted_after_cycle_Gy']):>13}{_number(limit['predicted_end_of_course_Gy']):>15}"
        f"{_percent(limit['probability_over_end_of_course']):>9}"
        for limit in limits
    ]
    return [header, *rows, ""] if rows else []


def _warnings(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """First-line warnings with their place, and how many other warnings and notes the report holds."""
    first = [w for w in found if w["severity"] == "first-line"]
    lines = [f"Warning: {w['where']}: {w['message']}" if w["where"] else f"Warning: {w['message']}" for w in first]
    others = {name: sum(w["severity"] == name for w in found) for name in ("warning", "note")}
    counted = [
        f"{n} {'further ' * bool(first and name == 'warning')}{name}{'s' * (n > 1)}" for name, n in others.items() if n
    ]
    if counted:
        lines.append(f"{' and '.join(counted)} in the report, under Warnings")
    return ["", *lines] if lines else []


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100.0 * value:.0f} %"
