"""The OpenAPI document: whole, with examples, and true for requests made from it."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute

from palate.service.http.app import ROUTERS
from tests.service.http.fuzzing import fuzz
from tests.service.http.world import Running


@pytest.fixture
def document(shared: Running) -> dict[str, Any]:
    content: dict[str, Any] = httpx2.get(f"{shared.url}/openapi.json").json()
    return content


def test_every_route_is_in_it(document: dict[str, Any]) -> None:
    routes = [r for m in ROUTERS for r in m.router.routes if isinstance(r, APIRoute)]
    for route in routes:
        for method in route.methods:
            told = document["paths"][route.path][method.lower()]
            assert told["summary"]
            assert told["description"]
            schema = told["responses"]["404"]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Error"}
            needs_key = route.path.startswith("/v1/")
            assert ("security" in told) == needs_key


def shape_of(content: Any) -> Any:
    """Fields without their values; of a list its first. The document leaves nulls out."""
    if isinstance(content, dict):
        return {name: shape_of(value) for name, value in content.items() if value is not None}
    return [shape_of(content[0])] if isinstance(content, list) and content else None


def test_examples_are_served(shared: Running, document: dict[str, Any]) -> None:
    """Every example of a body is answered without an error, but where it names what is not."""
    client = shared.client()
    schemas = document["components"]["schemas"]
    done = 0
    for path, operations in document["paths"].items():
        body = operations.get("post", {}).get("requestBody")
        if body is None:
            continue
        content = body["content"]["application/json"]
        if "examples" in content:
            examples = [one["value"] for one in content["examples"].values()]
        else:
            examples = schemas[content["schema"]["$ref"].rpartition("/")[2]]["examples"]
        for example in examples:
            response = client.post(path.replace("{user}", "alice"), json=example)
            named = "completion_id" in example or path == "/v1/admin/models"
            expected = (200, 201, 202, 404) if named else (200, 201)
            assert response.status_code in expected, response.text
            done += 1
            if response.status_code < 300 and not named:
                status = "201" if path == "/v1/feedback" else "200"
                told = operations["post"]["responses"][status]["content"]["application/json"]
                assert shape_of(told["example"]) == shape_of(response.json())
    assert done == 8


def test_requests_made_from_it(shared: Running) -> None:
    statuses, faults = fuzz(shared.url, shared.key("fuzz"), cases=300)
    assert faults == []
    assert sum(statuses.values()) >= 300
    assert statuses[200] > 20
    assert statuses[422] > 20
