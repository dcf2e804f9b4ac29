"""Arms, limits, the activity controller and toxicity rules.

Read in this order: `records`, `profile` (files), `rules` and `allocation` (arrays), `arrays` (the rules themselves),
`controller` (one subject), `explain`, `toxicity`.
"""
