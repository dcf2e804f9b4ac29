"""The DICOM receiver: checks the sender, pseudonymises at the door, files by subject and cycle."""
