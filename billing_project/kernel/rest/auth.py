"""Who asks, and what their key allows."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from billing_project.kernel.keys import find_api_key
from billing_project.kernel.models import ApiKey, User

if TYPE_CHECKING:
    from rest_framework.views import APIView

REVOKED = "the API key is unknown or revoked"
ADMIN = "admin"  # The scope that includes every other.


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer abk_...`; the user is the key's service user.

    A view that is asked often may name another way to find the key than to read it each time.
    """

    def __init__(self, find: Callable[[str], ApiKey | None] = find_api_key) -> None:
        self.find = find

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        """Return the key's user and the key, or None where no credentials came.

        Raises:
            AuthenticationFailed: no bearer key, an unknown one, or a revoked one.
        """
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        kind, _, token = header.partition(" ")
        key = self.find(token.strip()) if kind.lower() == "bearer" else None
        if key is None:
            raise AuthenticationFailed(REVOKED)
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme that a 401 asks for."""
        return 'Bearer realm="billing"'


class HasScope(BasePermission):
    """The key has the scope that `view.scopes` names for the method; without one, only admin."""

    code = "insufficient_scope"
    status_code = HTTPStatus.FORBIDDEN

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Compare the key's scopes with the one that the view asks for."""
        key = request.auth
        if not isinstance(key, ApiKey):
            return False  # Becomes 401: no key came.
        method = "GET" if request.method == "HEAD" else request.method
        needed = getattr(view, "scopes", {}).get(method, ADMIN)
        self.message = f"this needs a key with the scope {needed}"
        return needed in key.scopes or ADMIN in key.scopes
