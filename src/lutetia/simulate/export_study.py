"""`study.toml` of a virtual trial."""

from __future__ import annotations

from lutetia.simulate.export import VirtualTrial


def study_text(trial: VirtualTrial) -> str:
    """The study description: protocol, arms, limits, visits, category rule, versions, stopping rule."""
    protocol = trial.protocol
    lines = [
        'schema = "lutetia.study/1"',
        f"title = {_text(f'virtual trial of protocol {protocol.name}')}",
        "simulated = true",
        f"planned_n = {len(trial.subjects)}",
        f"cycles = {protocol.cycles}",
        f"interval_weeks = {protocol.interval_weeks or 8.0}",
        'ctcae = "5.0"',
        'coding_version = "terms only, not coded"',
        "",
        "[protocol]",
        f"file = {_text(f'{protocol.name}.toml')}",
        f"name = {_text(protocol.name)}",
        f"version = {_text(protocol.version)}",
        f"sha256 = {_text(protocol.sha256)}",
        "",
        "[category]",
        f"reference = {_text(protocol.category_reference)}",
        f"tolerance = {protocol.category_tolerance}",
    ]
    for arm in protocol.arms.values():
        base = ", ".join(f"{_text(n)} = {a}" for n, a in arm.base_MBq.items())
        lines += [
            "",
            f"[arms.{_text(arm.name)}]",
            f"description = {_text(arm.description)}",
            f"base_MBq = {{ {base} }}",
        ]
        lines += [f"variable = {_text(arm.variable)}"] if arm.variable else []
    for limit in protocol.limits:
        lines += ["", "[[limits]]", f"id = {_text(limit.id)}", f"region = {_text(limit.region)}"]
        lines += [f"metric = {_text(limit.metric)}", f"limit_Gy = {limit.limit_Gy}", f"kind = {_text(limit.kind)}"]
        lines += [f"method = {_text(limit.method)}"] if limit.method else []
    lines += ["", *_visits(), "", *_monitors(), ""]
    return "\n".join(lines)


def _visits() -> list[str]:
    """Windows in days: baseline before the first infusion, the others after each."""
    found = ["# windows in days; baseline before the first infusion, the others after the infusion of their cycle"]
    for name, low, high in (("baseline", -28, 0), ("week 2", 7, 21), ("week 4", 22, 35), ("week 6", 36, 49)):
        found += ["[[visits]]", f"name = {_text(name)}", f"window_days = [{low}, {high}]"]
    return found


def _monitors() -> list[str]:
    """A Bayesian stopping rule per arm; its numbers are assumptions."""
    return [
        "[[monitors]]",
        'id = "haematology or kidney"',
        'event = "grade 3 or more of haemoglobin, platelets, neutrophils; grade 2 or more of creatinine"',
        "within_days = 56",
        "p0 = 0.10",
        "tau = 0.95",
        "prior_ess = 2.0",
    ]


def _text(value: str | None) -> str:
    quoted = (value or "").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'
