"""Ordered changes of the database schema, run by Alembic through `lutetia.trial.upgrade`.

Policy: a revision never changes or removes what a trail's replay needs; columns and tables are added. The first
revision is frozen as SQL. To add one: a file under `versions`, its number in `database.REVISIONS`, and a run of
`tests/trial/test_trial_upgrade.py`, which compares the upgraded schema with that of a new trial.
"""
