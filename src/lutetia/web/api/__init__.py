"""The JSON API under /api, described at /openapi.json: one file a family; models are pydantic, rights as for pages."""
