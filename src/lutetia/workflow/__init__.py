"""Use cases of a trial: each asks for access, checks, and ends in the one write gateway."""
