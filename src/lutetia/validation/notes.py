"""What each study compares with, and how independent of ours that is; printed above its figures on the page."""

from __future__ import annotations

SAME_CODE = (
    "Our electron kernels were computed with the same transport code, from single energies in fine rings: these "
    "figures test spectra, folding, geometry and interpolation, not the physics of that code. For that see the voxels, "
    "the cubes and the organs, which other authors computed."
)
NOTES: dict[str, str] = {
    "Mean energies per decay": "Reference: ICRP Publication 107. The computed beta spectra (Fermi function, shape "
    "factors) come from endpoints and branches alone and could disagree; lines are tabulated from there, so the other "
    "rows show that grouping and folding lose nothing.",
    "Energy account of the kernels": "Reference: sums of ICRP Publication 107 (177Lu: 147.92 keV of electrons and "
    "35.10 keV of photons; 90Y: 933.1 keV of electrons). No energy may be lost on the way to a dose. "
    "What escapes from the voxels is what the fold emits less what it deposits in them.",
    "Voxel S-values": "Reference: Lanconelli et al., Phys. Med. Biol. 57 (2012) 517–533, soft tissue. Its 177Lu source "
    "voxel is 7 to 10 % low (conversion electrons): the difference is expected, and a kernel without it is wrong.",
    "Organ self-dose": "References: OLINDA/EXM 2.2 and OpenDose (phantoms of ICRP Publication 110), same masses.",
    "Spheres 0.1 g to 6 kg": "Reference: ompMC 0.4.0 (condensed history of EGSnrc), whole spectra of 177Lu and 90Y "
    "from a point, folded exactly with the ball, with bremsstrahlung and photons; emissions below 10 keV stay where "
    f"they start. {SAME_CODE} Photons, whose kernels are our own, are also compared with the package's photon "
    "transport in voxels.",
    "Cubes of 90Y": "Reference: the voxels of Lanconelli et al. 2012 summed to cubes of 0.09 to 180 g: a Monte Carlo "
    "that other authors ran.",
    "Filled cylinders": f"Reference: ompMC 0.4.0, source points inside the cylinder, one boundary. {SAME_CODE}",
    "Photon Monte Carlo": "Reference: ompMC 0.4.0 on the same trunk of water, lung and cortical bone; another code, "
    "other cross sections, and electrons followed.",
    "Dose maps of a real anatomy": "Reference: ompMC 0.4.0 on the voxels of phantom patient15 (licensed, not part of "
    "the package), electrons and photons followed in tissue, lung and bone.",
    "kinetics": "Reference: simulated kidneys with 5 % noise, whose integral is known.",
    "noise-free tables": "Reference: simulated subjects with exact tables; truth by numerical integration.",
    "coverage": "Reference: 300 simulated subjects through the whole of `lutetia plan`, with errors of activity, "
    "calibration, mass and S-value.",
    "One scan a cycle": "Reference: virtual subjects (kidney half-life 50 h, spread 20 %) with known integrals, one "
    "scan of the second cycle with 5 % noise. With a population half-life the error is smallest at T_eff/ln 2 of the "
    "nuclide whose dose is wanted; with the subject's own half-life the hour matters little.",
    "Intervals and probabilities of trials": "Reference: the known doses of virtual subjects in trials of the packaged "
    "profile, without toxicity. Intervals come from draws of the measurement's own errors; probabilities are those "
    "of a proposal, in ten classes. The sizes of the errors are known here: these figures test propagation through "
    "shared errors, sums over cycles and adaptive decisions, not the sizes.",
    "Dose–effect association": "Reference: the slope on measured dose in 10^6 virtual subjects. Trials of 56 subjects "
    "have cycle 1 of the profile `duonen`, measurement errors and laboratory noise; planted effects are assumptions of "
    "the simulator. The figures test the interval and the p-value, not the size of a real effect.",
    "registration": "Reference: known movements of the simulated patient.",
    "images": "Reference: the known doses of simulated patients, through cameras with mis-set resolution and shifted "
    "outlines.",
}
