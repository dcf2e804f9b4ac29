"""The interim safety analysis: exposure, blood counts, renal, hepatic, association, time to event, the report."""
