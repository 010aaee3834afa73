"""What a server is asked by REST."""

import json
from typing import Any

import requests

from data_pipeline.dataset import TimelineData
from tests.export.inputs import REQUEST, inputs_of
from tests.servers import Server


def post(server: Server, body: Any, path: str = "atrank:predict") -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body)
    response = requests.post(f"http://{server.rest}/v1/models/{path}", data=data, timeout=30)
    assert response.headers["Content-Type"].startswith("application/json")
    return response.status_code, response.json()


def rows_of(data: TimelineData) -> list[dict[str, Any]]:
    columns = {name: values.tolist() for name, values in inputs_of(REQUEST, data.schema).items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
