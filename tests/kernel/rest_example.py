"""An endpoint to test the base of all endpoints with, and how tests talk to it."""

import json
from typing import Any

from django.db import OperationalError
from django.test import Client
from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import Conflict, Invalid
from billing_project.kernel.models import OutboxMessage
from billing_project.kernel.rest.fields import QuantityField
from billing_project.kernel.rest.views import ApiView


class PartIn(serializers.Serializer[Any]):
    amount = QuantityField(positive=True)


class NoteIn(serializers.Serializer[Any]):
    topic = serializers.CharField(max_length=60)  # Longer than the column, on purpose.
    parts = PartIn(many=True, required=False)
    failure = serializers.CharField(required=False)


class NoteOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    topic = serializers.CharField()


class NotesView(ApiView):
    scopes = {"GET": "usage:read", "POST": "credits:write"}

    def get(self, request: Request) -> Response:
        return self.page(request, OutboxMessage.objects.all(), NoteOut)

    def post(self, request: Request) -> Response:
        body = self.valid(NoteIn, request.data)
        at = clock.now()
        note = OutboxMessage.objects.create(topic=body["topic"], object_id=1, created_at=at)
        errors: dict[str | None, Exception] = {
            "conflict": Conflict("no"),
            "invalid": Invalid("no", field="parts[0].amount"),
            "bug": ZeroDivisionError("secret"),
            "database": OperationalError("down"),
        }
        if failure := errors.get(body.get("failure")):
            raise failure
        return Response(NoteOut(note).data, 201)


class MoneyView(NotesView):
    requires_idempotency_key = True


urlpatterns = [
    path("v1/notes", NotesView.as_view()),
    path("v1/money", MoneyView.as_view()),
    path("v1/notes/<str:name>", NotesView.as_view()),
]


def post(client: Client, token: str, body: object, url: str = "/v1/notes", **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response: Any = client.post(
        url,
        data,
        content_type=headers.pop("content_type", "application/json"),
        headers={"Authorization": f"Bearer {token}", **headers},
    )
    return response


def problem_of(response: Any) -> tuple[int, str]:
    assert response["Content-Type"] == "application/problem+json", response.content
    content = json.loads(response.content)
    assert content["status"] == response.status_code
    assert content["title"]
    assert content["detail"]
    return response.status_code, content["code"]
