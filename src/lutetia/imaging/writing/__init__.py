"""DICOM objects out: CT, PT and NM series, SEG and RTSTRUCT, byte-reproducible, for virtual subjects and tests."""
