"""Virtual subjects whose doses are known: ellipsoid organs, scans of them, and the packaged example case."""
