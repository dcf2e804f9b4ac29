"""Virtual subjects, their measurements, effects of treatment, and studies of many virtual trials."""
