"""Tables T1 to T16 of the interim report: one file a table, each `build(context) -> SafetyTable`.

The catalogue of all of them is `lutetia.safety.catalogue`.
"""
