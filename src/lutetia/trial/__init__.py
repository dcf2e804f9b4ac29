"""The trial: records and store, the one write gateway, audit, randomisation, access, signatures, queries."""
