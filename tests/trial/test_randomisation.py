from __future__ import annotations

import hashlib
import hmac
import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutetia.errors import InputError, UnknownNameError
from lutetia.trial.randomisation import (
    SCHEMES,
    check_levels,
    check_spec,
    next_arm,
    read_spec,
    replay,
    spec_bytes,
    spec_hash,
)
from lutetia.trial.randomisation_blocks import block_list
from lutetia.trial.randomisation_draws import draw, seed_of_hex
from lutetia.trial.randomisation_minimisation import imbalances
from lutetia.trial.randomisation_records import (
    Allocated,
    Factor,
    RandomisationSpec,
    Tally,
    stratum_levels,
    stratum_text,
)
from lutetia.trial.randomisation_reveal import replay_file, reveal_record

ARMS, EVEN = ("A", "B", "C", "D"), (1, 1, 1, 1)
SITE, DIABETES = Factor("site"), Factor("diabetes", ("no", "yes"))
SEED = hashlib.sha256(b"test").digest()


def spec_of(scheme: str) -> RandomisationSpec:
    return RandomisationSpec(scheme, ARMS, EVEN, (SITE, DIABETES))


def run_serially(spec: RandomisationSpec, count: int, *, seed: bytes = SEED, order: int = 3) -> list[Allocated]:
    chosen, found = random.Random(order), list[Allocated]()
    for _ in range(count):
        levels = {"site": f"{chosen.randrange(5):02d}", "diabetes": chosen.choice(("no", "yes"))}
        found.append(Allocated(levels, next_arm(spec, seed, found, levels)))
    return found


def test_a_draw_is_the_hmac_of_its_number_and_repeats() -> None:
    digest = hmac.new(SEED, b"blocks/x/7", "sha256").hexdigest()
    assert draw(SEED, "blocks/x", 7) == (int(digest[:14], 16) >> 3) / 2**53
    values = [draw(SEED, "uniform", k) for k in range(4000)]
    assert 0 <= min(values) <= max(values) < 1
    assert sum(values) / len(values) == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.requirement(28)
def test_revealing_the_seed_and_running_again_reproduces_every_allocation(scheme: str) -> None:
    spec = spec_of(scheme)
    published = spec_hash(spec, SEED)
    allocated = run_serially(spec, 92)
    assert hashlib.sha256(SEED + spec_bytes(spec)).hexdigest() == published
    assert replay(spec, SEED, allocated) == ()
    other = hashlib.sha256(b"another seed").digest()
    assert spec_hash(spec, other) != published
    assert len(replay(spec, other, allocated)) > 20


@pytest.mark.parametrize("scheme", SCHEMES)
def test_replay_names_the_allocation_that_was_changed(scheme: str) -> None:
    spec = spec_of(scheme)
    allocated = run_serially(spec, 30)
    arm = next(a for a in ARMS if a != allocated[16].arm)
    allocated[16] = replace(allocated[16], arm=arm)
    fault = replay(spec, SEED, allocated)[0]
    assert (fault.number, fault.found) == (17, arm)


@pytest.mark.requirement(28)
def test_a_revealed_file_is_checked_by_hash_and_replay(tmp_path: Path) -> None:
    spec = spec_of("minimisation")
    record = reveal_record(spec, SEED, run_serially(spec, 24))
    file = tmp_path / "revealed.json"
    file.write_text(json.dumps(record), encoding="utf-8")
    assert replay_file(file).allocations == 24
    record["allocations"][5]["arm"] = next(a for a in ARMS if a != record["allocations"][5]["arm"])
    file.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(InputError, match="the first is number 6"):
        replay_file(file)
    record["specification"]["p_best"] = 0.9
    file.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(InputError, match="the published hash is"):
        replay_file(file)


@settings(max_examples=40, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), ratio=st.sampled_from([(1, 1), (2, 1), (1, 1, 1, 1), (2, 1, 1)]))
def test_every_completed_block_has_the_ratio_and_lists_only_grow(seed: bytes, ratio: tuple[int, ...]) -> None:
    parts = sum(ratio)
    spec = RandomisationSpec("blocks", ARMS[: len(ratio)], ratio, (), (parts, 2 * parts))
    arms = block_list(spec, seed, "all", length=24 * parts)
    assert arms[: 5 * parts] == block_list(spec, seed, "all", length=5 * parts)
    one = Counter(dict(zip(spec.arms, ratio, strict=True)))
    ends = {0}
    for start in range(0, len(arms), parts):
        for size in (1, 2):
            block = Counter(arms[start : start + size * parts])
            if start in ends and block == Counter({arm: size * part for arm, part in one.items()}):
                ends.add(start + size * parts)
    # The list can be cut into balanced blocks to its end, or to the last block that the cut leaves incomplete.
    assert max(ends) >= len(arms) - parts


def test_blocks_have_both_sizes_equally_often_and_all_orders() -> None:
    spec = RandomisationSpec("blocks", ARMS, EVEN, (), (4, 8))
    first = Counter[tuple[str, ...]]()
    for number in range(3000):
        seed = hashlib.sha256(str(number).encode()).digest()
        first[block_list(spec, seed, "all", length=4)] += 1
    balanced = sum(count for block, count in first.items() if len(set(block)) == 4)
    # A block of 8 begins with four different arms with probability 4!·2^4·4!/8!·… = 8/35 (counting orders).
    assert balanced / 3000 == pytest.approx(0.5 + 0.5 * 8 / 35, abs=0.03)
    assert len([block for block in first if len(set(block)) == 4]) == 24


def test_strata_do_not_share_their_lists() -> None:
    spec = spec_of("blocks")
    lists = [block_list(spec, SEED, f"site={site};diabetes=no", length=64) for site in ("01", "02")]
    assert lists[0] != lists[1]


def test_imbalances_are_those_of_a_worked_example() -> None:
    spec = RandomisationSpec("minimisation", ("A", "B"), (1, 1), (SITE, DIABETES))
    earlier = [
        Allocated({"site": "01", "diabetes": "no"}, "A"),
        Allocated({"site": "01", "diabetes": "yes"}, "A"),
        Allocated({"site": "02", "diabetes": "yes"}, "B"),
    ]
    # New subject site 01, diabetes yes. Counts (A, B): site 01 (2, 0), yes (1, 1), all (2, 1).
    # In A: 3 + 1 + 2 = 6; in B: 1 + 1 + 0 = 2.
    levels = {"site": "01", "diabetes": "yes"}
    assert imbalances(spec, Tally.of(spec, earlier), levels) == (6, 2)
    assert imbalances(replace(spec, overall_weight=0.0), Tally.of(spec, earlier), levels) == (4, 2)


def test_minimisation_takes_the_best_arm_with_its_probability() -> None:
    spec = RandomisationSpec("minimisation", ARMS, EVEN, (SITE,))
    earlier = [Allocated({"site": "01"}, arm) for arm in ("A", "B", "C")]
    seeds = [hashlib.sha256(str(n).encode()).digest() for n in range(3000)]
    counts = Counter(next_arm(spec, seed, earlier, {"site": "01"}) for seed in seeds)
    assert counts["D"] / 3000 == pytest.approx(0.8, abs=0.025)
    assert all(counts[arm] / 3000 == pytest.approx(0.2 / 3, abs=0.015) for arm in "ABC")
    first = Counter(next_arm(spec, seed, [], {"site": "01"}) for seed in seeds)
    assert all(first[arm] / 3000 == pytest.approx(0.25, abs=0.03) for arm in ARMS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arms": ("A",), "ratio": (1,)}, "two or more"),
        ({"arms": ("A", "A", "B", "C")}, "different names"),
        ({"ratio": (1, 1)}, "one whole number"),
        ({"ratio": (1, 1, 1, 0)}, "one whole number"),
        ({"block_sizes": (6,)}, "multiple of 4"),
        ({"block_sizes": ()}, "no block sizes"),
        ({"p_best": 0.2}, "p_best"),
        ({"overall_weight": -1.0}, "overall weight"),
        ({"factors": (SITE, SITE)}, "each once"),
        ({"scheme": "minimisation", "ratio": (2, 2, 2, 1), "block_sizes": (7,)}, "equal parts"),
        ({"scheme": "minimisation", "factors": (), "overall_weight": 0.0}, "no factor"),
    ],
)
def test_a_specification_that_contradicts_itself_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_spec(replace(spec_of("blocks"), **change))  # type: ignore[arg-type]


def test_unknown_schemes_levels_and_factors_are_refused_with_what_is_known() -> None:
    with pytest.raises(UnknownNameError, match="minimisation"):
        check_spec(replace(spec_of("blocks"), scheme="minimization"))
    spec = spec_of("blocks")
    with pytest.raises(InputError, match="no or yes"):
        check_levels(spec, {"site": "01", "diabetes": "maybe"})
    with pytest.raises(InputError, match="diabetes is missing"):
        check_levels(spec, {"site": "01"})
    with pytest.raises(InputError, match="'sex'"):
        check_levels(spec, {"site": "01", "diabetes": "no", "sex": "female"})
    with pytest.raises(InputError, match="without ; = /"):
        check_levels(spec, {"site": "01;x", "diabetes": "no"})
    with pytest.raises(InputError, match="64"):
        seed_of_hex("zz")
    with pytest.raises(InputError, match="31 bytes"):
        seed_of_hex("00" * 31)


def test_a_specification_and_a_stratum_come_back_from_their_text() -> None:
    spec = spec_of("minimisation")
    assert read_spec(spec_bytes(spec)) == spec
    levels = {"site": "01", "diabetes": "yes"}
    assert stratum_levels(stratum_text(levels)) == levels
    assert stratum_levels(stratum_text({})) == {}
    with pytest.raises(InputError, match="cannot be read"):
        read_spec('{"schema": "lutetia.randomisation/1"}')
