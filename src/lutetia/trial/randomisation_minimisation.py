"""Pocock–Simon minimisation with a random element, and with the balance of whole arms as one more factor.

For each arm t the imbalance that would follow is G_t = Σ_i w_i range_a(n_ia), with n_ia the subjects of arm a at the
new subject's level of factor i (the new one counted in t), w_i = 1 for factors and `overall_weight` for whole arms. The
arm with the smallest G is taken with probability p_best, each other with (1 − p_best)/(arms − 1); arms with equal G are
put in an order by draws first. Arms have equal ratios: p_best for one arm would not keep another ratio.

References
----------
Pocock & Simon 1975, Biometrics 31:103–115.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lutetia.trial.randomisation_draws import draw
from lutetia.trial.randomisation_records import RandomisationSpec, Tally


def minimised_arm(spec: RandomisationSpec, seed: bytes, tally: Tally, levels: Mapping[str, str]) -> str:
    """Arm of the next subject; its draws are those of its place in the whole sequence."""
    imbalance = imbalances(spec, tally, levels)
    order = [draw(seed, f"ties/{tally.total}", index) for index in range(len(spec.arms))]
    ranked = sorted(range(len(spec.arms)), key=lambda index: (round(imbalance[index], 9), order[index]))
    u = draw(seed, "minimisation", tally.total)
    if u < spec.p_best:
        return spec.arms[ranked[0]]
    place = int((u - spec.p_best) / (1.0 - spec.p_best) * (len(ranked) - 1))
    return spec.arms[ranked[1 + min(place, len(ranked) - 2)]]


def imbalances(spec: RandomisationSpec, tally: Tally, levels: Mapping[str, str]) -> tuple[float, ...]:
    """G of every arm, were the new subject put there; shape (arm,)."""
    groups = [(1.0, tally.of_level(name, level)) for name, level in levels.items()]
    groups += [(spec.overall_weight, tally.by_arm)]
    return tuple(sum(w * _range_with(counts, arm) for w, counts in groups) for arm in range(len(spec.arms)))


def _range_with(counts: Sequence[int], arm: int) -> int:
    after = [count + (index == arm) for index, count in enumerate(counts)]
    return max(after) - min(after)
