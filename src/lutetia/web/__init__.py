"""Pages and JSON API of a trial: a thin face over `lutetia.workflow`."""
