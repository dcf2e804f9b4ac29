"""S-values, organ and marrow dose, kernels, BED."""
