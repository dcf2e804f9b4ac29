"""Images in and out: DICOM and NIfTI, calibration, recovery, registration, regions."""
