"""Trial data as a folder of CSV tables with a snapshot that names and hashes every file."""
