"""Where Stripe delivers events: the raw body is proven before anything of it is read.

Forged, old or altered deliveries leave nothing but their count among the answers (/metrics). What
cannot be taken now answers 503, and Stripe brings it again.
"""

import json

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing_project.kernel import clock
from billing_project.kernel.errors import Invalid
from billing_project.kernel.rest.errors import PROBLEM_TYPE, problem
from billing_project.kernel.users import worker_user
from invoicing.stripe_sync.events import receive
from invoicing.stripe_sync.gateway import Unreachable
from invoicing.stripe_sync.signature import is_genuine

_LONGEST_BODY = 1024 * 1024


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """Take one event: 200 whether it is new or was taken before."""
    if int(request.headers.get("Content-Length") or 0) > _LONGEST_BODY:
        return _refuse(413, "body_too_large", "an event is smaller")
    at, body = clock.now(), request.body
    header = request.headers.get("Stripe-Signature", "")
    if not is_genuine(body, header, settings.STRIPE_WEBHOOK_SECRETS, at):
        return _refuse(400, "bad_signature", "not signed by Stripe, or too long ago")
    try:
        is_new = receive(event=json.loads(body), by=worker_user(), at=at)
    except (Invalid, ValueError):
        return _refuse(400, "bad_request", "this is no event of Stripe")
    except Unreachable:
        return _refuse(503, "stripe_unreachable", "the object cannot be fetched now")
    return JsonResponse({"received": True, "is_new": is_new})


def _refuse(status: int, code: str, detail: str) -> HttpResponse:
    return JsonResponse(problem(status, code, detail), status=status, content_type=PROBLEM_TYPE)
