"""The interim safety analysis: exposure, haematology, renal, hepatic, association, time to event, boundaries, report."""
