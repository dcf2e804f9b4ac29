"""Statistics for small arms: plain arrays in, frozen results out; what data cannot carry is `NotEstimable`."""
