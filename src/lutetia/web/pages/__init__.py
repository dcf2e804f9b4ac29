"""Pages: one file a family; each handler takes a `lutetia.web.context.Page` and the parts of its address."""
