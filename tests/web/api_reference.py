"""The reference page of the JSON API in Markdown, made from the OpenAPI document and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_HEAD = """# JSON API

Made from the server's own description by `scripts/api-reference`; do not edit. The server gives the same as OpenAPI at
`/openapi.json`.

Sign in with `POST /api/session` and send the token with every request as `Authorization: Bearer TOKEN`. A program has
the rights of the account that it signs in with, at that account's sites, and is masked as it is. Every change is
recorded in the audit trail like one made on a page. A field that is not known is refused. Instants are ISO 8601 with
offset, days `YYYY-MM-DD`; units stand in the names.

```console
curl -s https://trial.example.org/api/session -H 'Content-Type: application/json' \\
  -d '{"user": "coordinator", "password": "...", "code": "123456"}'
curl -s https://trial.example.org/api/subjects -H "Authorization: Bearer $TOKEN"
```
"""


def reference(document: dict[str, Any]) -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_errors(document), *_operations(document), *_shapes(document)]).rstrip() + "\n"


def _every(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _errors(document: dict[str, Any]) -> Iterator[str]:
    words = {s: a["description"] for *_, o in _every(document) for s, a in o["responses"].items() if s >= "400"}
    yield from ("## Errors", "", "The body of every error is a [ProblemBody](#problembody).", "")
    yield from ("| status | when |", "|---|---|")
    yield from (f"| {status} | {words[status]} |" for status in sorted(words))
    yield ""


def _operations(document: dict[str, Any]) -> Iterator[str]:
    tag = ""
    for method, path, operation in sorted(_every(document), key=lambda one: (one[2]["tags"], one[1], one[0])):
        if operation["tags"][0] != tag:
            tag = operation["tags"][0]
            yield from (f"## {tag.capitalize()}", "")
        yield from (f"### `{method} {path}`", "", operation["description"], "")
        if parameters := operation.get("parameters"):
            yield from ("| parameter | in | type | |", "|---|---|---|---|")
            for one in parameters:
                need = "" if one["required"] else "optional"
                yield f"| `{one['name']}` | {one['in']} | {_kind(one['schema'])} | {need} |"
            yield ""
        good = {s: a for s, a in operation["responses"].items() if s < "400"}
        for status, answer in good.items():
            sent = operation.get("requestBody")
            asked = f"Body: {_kind(sent['content']['application/json']['schema'])}. " if sent else ""
            content = answer.get("content", {}).get("application/json", {}).get("schema")
            given = f"Answer {status}: {_kind(content)}." if content else f"Answer {status} without a body."
            errors = ", ".join(s for s in sorted(operation["responses"]) if s >= "400")
            yield from (f"{asked}{given} Errors: {errors}.", "")


def _shapes(document: dict[str, Any]) -> Iterator[str]:
    yield from ("## Shapes", "")
    for name, shape in sorted(document["components"]["schemas"].items()):
        yield from (f"### {name}", "", shape.get("description", ""), "", "| field | type | |", "|---|---|---|")
        for field, schema in shape["properties"].items():
            yield f"| `{field}` | {_kind(schema)} | {'' if field in shape.get('required', ()) else 'optional'} |"
        yield ""


def _kind(schema: dict[str, Any]) -> str:
    """A type in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{word}`" for word in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        inner = [_kind(one) for one in schema["prefixItems"]] if "prefixItems" in schema else [_kind(schema["items"])]
        return f"list of {' and '.join(dict.fromkeys(inner))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        key = schema.get("propertyNames", {})
        return f"{_kind(schema['additionalProperties'])} by {_kind(key) if key else 'name'}"
    return str(kind) + _limits(schema)


def _limits(schema: dict[str, Any]) -> str:
    words = {"minimum": "≥ {}", "maximum": "≤ {}", "minLength": "at least {} characters",
             "maxLength": "at most {} characters"}  # fmt: skip
    found = [text.format(f"{schema[name]:,}") for name, text in words.items() if name in schema]
    return f" ({', '.join(found)})" if found else ""
