"""One subject: from the case file to doses, ledger, proposal and report."""
