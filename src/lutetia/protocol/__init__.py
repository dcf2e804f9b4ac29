"""Arms, limits, the activity controller and toxicity rules."""
