"""Time–activity curves: models, fitting, time integration, transfer between nuclides."""
