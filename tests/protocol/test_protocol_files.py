"""Protocol files: the packaged ones, and what is refused in one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lutetia.core.chain import Forecast
from lutetia.core.draws import exact
from lutetia.errors import LutetiaError, ProtocolError, UnknownNameError
from lutetia.protocol.controller import Decision, decide
from lutetia.protocol.explain import explain
from lutetia.protocol.profile import packaged_protocols, parse_protocol, read_protocol
from lutetia.protocol.records import Protocol

VERSIONS = Path(__file__).parents[2] / "src/lutetia/protocol/versions"
DUONEN = (VERSIONS / "duonen.toml").read_text(encoding="utf-8")
EVERY_ARM = [(name, arm) for name in packaged_protocols() for arm in read_protocol(name).arms]


def forecast(
    protocol: Protocol, arm: str, *, given: float, per_GBq: float, bed_per_GBq2: float = 0.0, draws: int = 3
) -> Forecast:
    """All limited regions with the same dose; every nuclide with the same coefficient."""
    regions = tuple(dict.fromkeys(li.region for li in protocol.limits_of(arm)))
    nuclides = protocol.arm(arm).nuclides
    r, n = len(regions), len(nuclides)
    return Forecast(
        regions,
        nuclides,
        exact(np.full(r, given), draws),
        exact(np.full(r, given), draws),
        exact(np.full((r, n), per_GBq / 1e3), draws),
        exact(np.full((r, n, n), bed_per_GBq2 / 1e6), draws),
    )


def kidney_decision(name: str, arm: str, *, cycle: int, given: float, per_GBq: float, **more: object) -> Decision:
    """Decision with kidneys as given and a marrow dose so low that it never binds."""
    protocol = read_protocol(name)
    regions, nuclides = ("kidneys", "red marrow"), protocol.arm(arm).nuclides
    dose, n = np.array([given, 0.01]), len(nuclides)
    linear = np.array([[per_GBq / 1e3] * n, [1e-7] * n])
    quadratic = np.zeros((2, n, n))
    quadratic[0] = float(more.pop("bed_per_GBq2", 0.0)) / 1e6  # type: ignore[arg-type]
    values = [exact(v, 2) for v in (dose, dose, linear, quadratic)]
    return decide(protocol, arm, Forecast(regions, nuclides, *values), cycle=cycle, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "arm"), EVERY_ARM)
def test_every_arm_of_every_packaged_protocol_decides_every_cycle(name: str, arm: str) -> None:
    protocol = read_protocol(name)
    for cycle in range(1, protocol.cycles + 2):
        data = forecast(protocol, arm, given=0.2 * (cycle - 1), per_GBq=0.02)
        decision = decide(protocol, arm, data, cycle=cycle, previous_MBq=protocol.arm(arm).base_MBq)
        assert decision.state == ("COMPLETE" if cycle > protocol.cycles else "OK")
        assert explain(decision)


@pytest.mark.parametrize("name", packaged_protocols())
def test_a_packaged_protocol_states_its_source_and_what_is_not_published(name: str) -> None:
    protocol = read_protocol(name)
    assert protocol.name == name
    assert len(protocol.source) > 10
    assert protocol.marks
    assert all(
        str(mark).endswith(("(assumption, not published)", "(check against the primary source)"))
        for mark in protocol.marks
    )


def test_published_numbers_of_the_packaged_protocols() -> None:
    limits = {n: {li.id: li.limit_Gy for li in read_protocol(n).limits} for n in packaged_protocols()}
    assert limits["duonen"] == {"kidneys": 23.0, "marrow": 2.0}
    assert limits["menda-2018"] == {"kidneys": 23.0, "marrow": 2.0}
    assert limits["uppsala"] == {"kidneys": 23.0, "marrow": 2.0}
    assert limits["iluminet"] == {"kidneys_step_1": 27.0, "kidneys_step_2": 27.0}
    assert limits["p-prrt"] == {"kidneys": 23.0}
    assert limits["nct04917484"] == {"kidneys": 24.0}
    assert limits["bodei-2008"] == {"kidneys": 28.0}
    assert read_protocol("menda-2018").arm("Y-90").base_MBq == {"Y-90": 4400.0}
    assert read_protocol("nct04917484").arm("Lu-177").cap_MBq == (20000.0, 25000.0, 25000.0, 25000.0)


def test_all_of_duonen_but_its_publication_is_marked() -> None:
    published = {"limits.kidneys.limit_Gy", "limits.marrow.limit_Gy", "arms.B.variable"}
    marked = {mark.path for mark in read_protocol("duonen").marks}
    assert not published & marked
    assert {"cycles", "limits.kidneys.kind", "arms.B.base_MBq", "arms.D.step_up"} <= marked


def test_cycle_count_gives_the_base_until_another_cycle_would_pass_the_limit() -> None:
    given = kidney_decision("uppsala", "Lu-177", cycle=4, given=19.0, per_GBq=0.5)
    assert (given.state, given.activities_MBq, given.bound_by) == ("OK", {"Lu-177": 7400.0}, "fixed")
    stopped = kidney_decision("uppsala", "Lu-177", cycle=5, given=19.4, per_GBq=0.5)
    assert (stopped.state, stopped.activities_MBq, stopped.bound_by) == ("STOP", None, "kidneys")
    assert "another cycle at base activity would pass" in explain(stopped)[0]


def test_cycle_count_uses_the_tolerance() -> None:
    assert kidney_decision("iluminet", "step-1", cycle=5, given=25.0, per_GBq=0.5).state == "OK"
    assert kidney_decision("iluminet", "step-1", cycle=5, given=25.4, per_GBq=0.5).state == "STOP"


@pytest.mark.parametrize(
    ("risk_factors", "limit"),
    [(None, 27.0), (["hypertension"], 27.0), (["Diabetes"], 27.0), ([], 40.0), (["asthma"], 40.0)],
)
def test_a_higher_limit_needs_the_known_absence_of_risk_factors(risk_factors: list[str] | None, limit: float) -> None:
    assert read_protocol("iluminet").limits_of("step-2", risk_factors=risk_factors)[0].limit_Gy == limit
    assert read_protocol("iluminet").limits_of("step-1", risk_factors=risk_factors)[0].limit_Gy == 27.0


def test_prescribed_doses_follow_the_dose_per_activity_of_the_last_cycle() -> None:
    decision = kidney_decision("p-prrt", "Lu-177", cycle=2, given=4.0, per_GBq=0.5, previous_MBq={"Lu-177": 7400.0})
    assert decision.activities_MBq == {"Lu-177": 11500.0}
    last = kidney_decision("p-prrt", "Lu-177", cycle=4, given=20.0, per_GBq=0.5, previous_MBq={"Lu-177": 7400.0})
    assert last.activities_MBq == {"Lu-177": 6000.0}


def test_caps_differ_by_cycle() -> None:
    measured = {"per_GBq": 0.1, "given": 0.0, "measured": True}
    assert kidney_decision("nct04917484", "Lu-177", cycle=1, **measured).activities_MBq == {"Lu-177": 20000.0}
    assert kidney_decision("nct04917484", "Lu-177", cycle=2, **measured).activities_MBq == {"Lu-177": 25000.0}


def test_a_bed_limit_is_solved_with_the_quadratic() -> None:
    decision = kidney_decision("bodei-2008", "Lu-177", cycle=3, given=14.0, per_GBq=0.7, bed_per_GBq2=0.02)
    allowed = decision.limits[0].allowed_MBq
    assert allowed is not None
    x = allowed / 1e3
    assert 2 * (0.7 * x + 0.02 * x**2) == pytest.approx(14.0, rel=1e-12)
    assert decision.bound_by == "kidneys"


def test_allocations_share_the_room_as_they_say() -> None:
    text = DUONEN.replace('allocation = "even"', 'allocation = "{}"')
    expected = {"even": 23.0 - 8.0, "front_load": 3 * (23.0 - 8.0), "per_cycle_quota": 3 * 23.0 / 4}
    for allocation, dose in expected.items():
        protocol = parse_protocol(text.replace('"{}"', f'"{allocation}"').encode())
        data = forecast(protocol, "D", given=0.0, per_GBq=1e-6)
        values = [exact(v, 2) for v in ([8.0, 0.0], [8.0, 0.0], [[0.6e-3], [1e-9]], np.zeros((2, 1, 1)))]
        decision = decide(protocol, "D", Forecast(data.regions, data.nuclides, *values), cycle=2)
        assert decision.limits[0].allowed_MBq == pytest.approx(dose / 3 / 0.6e-3, rel=1e-12)


def test_drift_makes_later_cycles_count_more() -> None:
    protocol = parse_protocol(DUONEN.replace("kidneys = 1.0", "kidneys = 1.2").encode())
    values = [exact(v, 2) for v in ([8.0, 0.0], [8.0, 0.0], [[1e-3], [1e-9]], np.zeros((2, 1, 1)))]
    decision = decide(protocol, "D", Forecast(("kidneys", "red marrow"), ("Lu-177",), *values), cycle=2)
    assert decision.limits[0].allowed_MBq == pytest.approx(15.0 / (1 + 1.2 + 1.44) * 1e3, rel=1e-12)


REFUSED = [
    ('name = "duonen"', 'nmae = "duonen"', "unknown key 'nmae'; did you mean name"),
    ('schema = "lutetia.protocol/1"', 'schema = "lutetia.protocol/9"', "schema: found 'lutetia.protocol/9'"),
    ("cycles = 4", "cycles = 0", "cycles: found 0; expected a whole number"),
    ("cycles = 4", "cycles = true", "cycles: found True"),
    ("grid_MBq = 50", "grid_MBq = 0", "grid_MBq: found 0; expected a number above 0"),
    ("grid_MBq = 50", "grid_MBq = 9000", "grid_MBq 9000 is above the base"),
    ('allocation = "even"', 'allocation = "evenly"', "expected one of even, front_load"),
    ('allocation = "even"', 'allocation = "cycle_count"', "cycle_count gives the base activity; found variable Y-90"),
    ('allocation = "even"', 'allocation = "prescribed_doses"', "needs a limit with prescribed_doses_Gy"),
    ('variable = "Y-90"', 'variable = "I-131"', "variable nuclide I-131 has no base activity"),
    ('variable = "Y-90"', 'variable = "90Y"', "found '90Y'; expected a nuclide written like"),
    ('variable = "Y-90"\nmin_factor = 0.5', 'variable = "Y-90"', "min_factor is missing"),
    ('variable = "Y-90"\nmin_factor = 0.5', 'variable = "Y-90"\nmin_factor = 1.2', "is above the base"),
    (
        'variable = "Y-90"\nmin_factor = 0.5\nmax_factor = 1.5',
        'variable = "Y-90"\nmin_factor = 0.5\nmax_factor = 0.4',
        "below the",
    ),
    ('variable = "Y-90"\n', "", "min_factor is set but no nuclide is variable"),
    ("limit_Gy = 23.0", "limit_Gy = -1.0", "limit_Gy: found -1; expected a number above 0"),
    ("limit_Gy = 23.0", "limit_Gy = 23.0\ntolerance_Gy = 2.0", "tolerance_Gy needs allocation cycle_count"),
    ("limit_Gy = 23.0", "limit_Gy = 23.0\nlimit_without_risk_factors_Gy = 20", "without risk factors 20 Gy is below"),
    ("limit_Gy = 23.0", "limit_Gy = 23.0\nlimit_without_risk_factors_Gy = 40", "the protocol names none"),
    ('limit_Gy = 23.0\nkind = "soft"', 'limit_Gy = 23.0\nkind = "firm"', "expected one of hard, soft, advisory"),
    ("risk = 0.5", "risk = 1.0", "risk: found 1; expected a number below 1"),
    ('id = "marrow"', 'id = "kidneys"', "limits: the id 'kidneys' is used twice"),
    ('id = "kidneys"', 'id = "cap"', "the id 'cap' has a meaning of its own"),
    ('region = "kidneys"', 'region = "heart"', "unknown region 'heart'"),
    ('"cycles", "interval_weeks"', '"cycle", "interval_weeks"', "'cycle' names no value of this file"),
    ("drift_per_cycle = { kidneys = 1.0", "drift_per_cycle = { kidneys = 0", "expected a number above 0"),
    ('base_MBq = { "Lu-177" = 7400 }', 'base_MBq = { "Lu-177" = nan }', "found nan; expected a number"),
]


@pytest.mark.parametrize(("old", "new", "message"), REFUSED, ids=[r[2] for r in REFUSED])
def test_a_contradictory_file_is_refused_with_its_reason(old: str, new: str, message: str) -> None:
    assert old in DUONEN
    changed = DUONEN.replace(old, new, 1)
    with pytest.raises(LutetiaError, match=message):
        parse_protocol(changed.encode())


def test_a_file_that_is_not_toml_and_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="not a TOML text"):
        parse_protocol(b"\xff\xfe")
    with pytest.raises(UnknownNameError, match="did you mean duonen"):
        read_protocol("duonem")
    with pytest.raises(UnknownNameError, match="known: A, B, C, D"):
        read_protocol("duonen").arm("E")
    with pytest.raises(ProtocolError, match="cannot be read"):
        read_protocol(tmp_path / "none.toml")


def test_a_protocol_file_of_the_user_is_read_like_a_packaged_one(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(DUONEN, encoding="utf-8")
    own = read_protocol(tmp_path / "own.toml")
    assert own == read_protocol("duonen")
    assert len(own.sha256) == 64


def test_decision_without_a_forecast_is_refused_after_the_first_cycle() -> None:
    protocol = read_protocol("duonen")
    with pytest.raises(ProtocolError, match="found no dose forecast"):
        decide(protocol, "B", None, cycle=2)
    data = forecast(protocol, "D", given=1.0, per_GBq=0.1)
    with pytest.raises(ProtocolError, match="no coefficients for Y-90"):
        decide(protocol, "B", data, cycle=2)
    with pytest.raises(UnknownNameError, match="unknown toxicity action"):
        decide(protocol, "D", data, cycle=2, action="wait")
    with pytest.raises(UnknownNameError, match="unknown reason against an increase"):
        decide(protocol, "D", data, cycle=2, no_increase=("rain",))
