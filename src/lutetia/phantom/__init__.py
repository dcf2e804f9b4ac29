"""Virtual subject made of ellipsoids, its scans, and the packaged example case."""
