"""Actions with a form: a button on an object's page that calls exactly one service.

The page shows the form; a valid one runs the action. A BillingError becomes a message and the form
keeps its input; success redirects to the object's page with a message, so that a reload repeats
nothing. A list action makes a row: its button stands above the list.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.decorators import action
from unfold.enums import ActionVariant

from billing_project.kernel.backoffice.display import object_url
from billing_project.kernel.backoffice.forms import ActionForm, ReasonForm
from billing_project.kernel.backoffice.related import list_url
from billing_project.kernel.errors import BillingError
from billing_project.kernel.models import User
from billing_project.kernel.signins.fresh import DANGEROUS

# What an action does once its form is valid; returns the message of its success.
Run = Callable[[Any, User, Any, Any], str]
Make = Callable[[Any, User, Any], tuple[Model, str]]  # The same above a list; returns the row too.
Done = TypeVar("Done")
Page = TypeVar("Page", bound=Callable[..., HttpResponseBase])


@dataclass(frozen=True)
class FormAction:
    """What stands behind one button."""

    title: str
    permission: str | tuple[str, ...]  # "invoicing.record_payment"; of several, any one.
    form: type[ActionForm]
    offered: Callable[[Any], bool]  # Whether the object's state admits it.
    refusal: Callable[[User, Any], str]  # Why this person may not, or "".
    explanation: str
    is_final: bool  # Cannot be undone.
    takes_away: bool  # Ends or refuses something: red.
    hides_refused: bool = False  # No button for whom it refuses.

    def is_shown(self, user: User, subject: Model) -> bool:
        """Tell whether the button stands on the object's page."""
        is_hidden = self.hides_refused and bool(self.refusal(user, subject))
        return self.admits(user) and self.offered(subject) and not is_hidden

    @property
    def is_dangerous(self) -> bool:
        """Whether only somebody who signed in a short while ago may do it."""
        return not DANGEROUS.isdisjoint(self._permissions())

    def admits(self, user: User) -> bool:
        """Tell whether a person has the permission, or any one of several."""
        return any(user.has_perm(name) for name in self._permissions())

    def _permissions(self) -> tuple[str, ...]:
        return (self.permission,) if isinstance(self.permission, str) else self.permission


def form_action(
    title: str,
    *,
    permission: str | tuple[str, ...],
    form: type[ActionForm] = ReasonForm,
    icon: str = "edit",
    offered: Callable[[Any], bool] = lambda subject: True,
    refusal: Callable[[User, Any], str] = lambda user, subject: "",
    explanation: str = "",
    is_final: bool = False,
    takes_away: bool = False,
    hides_refused: bool = False,
) -> Callable[[Run], Any]:
    """Make an admin method into an action with a form; name it in `actions_detail`.

    The method takes (by, subject, form) with a valid form, calls one service, and returns what to
    tell the person.

    Args:
        offered: Hides the button where the object's state does not admit the action.
        refusal: Says why this person may not; shown in place of the button to submit.
        is_final: What cannot be undone is said with a warning.
        takes_away: What ends or refuses something gets a red button.
        hides_refused: Whom it refuses sees no button, for theirs is another's work.
    """
    spec = FormAction(
        title, permission, form, offered, refusal, explanation, is_final, takes_away, hides_refused
    )

    def decorate(run: Run) -> Any:
        variant = ActionVariant.DANGER if takes_away else ActionVariant.DEFAULT
        path = run.__name__.replace("_", "-")

        @wraps(run)
        def page(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
            return _respond(self, request, object_id, spec, run)

        button = action(page, description=title, url_path=path, icon=icon, variant=variant)
        button.form_action = spec
        return button

    return decorate


def list_action(
    title: str,
    *,
    permission: str,
    form: type[ActionForm],
    icon: str = "add",
    explanation: str = "",
) -> Callable[[Make], Any]:
    """Make an admin method into a button above the list; name it in `actions_list`.

    The method takes (by, form) with a valid form, calls one service, and returns the row that was
    made with what to tell the person. The form has no subject.
    """
    spec = FormAction(
        title, permission, form, lambda _: True, lambda *_: "", explanation, *[False] * 2
    )

    def decorate(make: Make) -> Any:
        path = make.__name__.replace("_", "-")

        @wraps(make)
        def page(self: Any, request: HttpRequest) -> HttpResponse:
            return _respond_above_list(self, request, spec, make)

        # Its permission is not told to Unfold, whose system check would look it up in the database.
        button = action(page, description=title, url_path=path, icon=icon)
        button.form_action = spec
        return button

    return decorate


def page_action(title: str, *, icon: str) -> Callable[[Page], Page]:
    """Make an admin method (request, object_id) into a button that opens a page of its own."""

    def decorate(page: Page) -> Page:
        path = page.__name__.replace("_", "-")
        return cast(Page, action(description=title, url_path=path, icon=icon)(page))

    return decorate


def _respond(
    admin: Any, request: HttpRequest, object_id: str, spec: FormAction, run: Run
) -> HttpResponse:
    user = _admitted(request, spec)
    subject = admin.get_object(request, unquote(object_id))
    if subject is None:
        response: HttpResponse = admin._get_obj_does_not_exist_redirect(
            request, admin.opts, object_id
        )
        return response
    if not admin.has_view_permission(request, subject):
        raise PermissionDenied
    form = _form_of(request, spec, subject)
    refusal = spec.refusal(user, subject)
    if _is_stale(request, spec):
        if not form.is_bound:
            return HttpResponseRedirect(_again_url(request))
        _ask_again(request)
    elif form.is_bound and refusal:
        messages.error(request, refusal)
    elif message := _done(request, form, lambda: run(admin, user, subject, form)):
        messages.success(request, message)
        return HttpResponseRedirect(object_url(subject))
    about = {"original": subject, "subtitle": str(subject), "subject_url": object_url(subject)}
    return _page(admin, request, form, spec, {**about, "refusal": refusal})


def _respond_above_list(
    admin: Any, request: HttpRequest, spec: FormAction, make: Make
) -> HttpResponse:
    user = _admitted(request, spec)
    if not admin.has_view_permission(request):
        raise PermissionDenied
    form = _form_of(request, spec, None)
    if _is_stale(request, spec):
        if not form.is_bound:
            return HttpResponseRedirect(_again_url(request))
        _ask_again(request)
    elif made := _done(request, form, lambda: make(admin, user, form)):
        row, message = made
        messages.success(request, message)
        return HttpResponseRedirect(object_url(row))
    about = {"subtitle": admin.opts.verbose_name_plural, "subject_url": list_url(admin.model, {})}
    return _page(admin, request, form, spec, about)


def _admitted(request: HttpRequest, spec: FormAction) -> User:
    user = request.user
    if not isinstance(user, User) or not spec.admits(user):
        raise PermissionDenied
    return user


def _is_stale(request: HttpRequest, spec: FormAction) -> bool:
    """Tell whether the person has to sign in again first; the middleware knows since when."""
    must_be = spec.is_dangerous and settings.FRESH_SIGN_IN_MINUTES > 0
    return must_be and not getattr(request, "is_freshly_signed_in", False)


def _again_url(request: HttpRequest) -> str:
    return (
        f"{resolve_url(settings.SIGN_IN_AGAIN_URL)}?{urlencode({'next': request.get_full_path()})}"
    )


def _ask_again(request: HttpRequest) -> None:
    """Keep what was typed: the person signs in beside it and sends it again."""
    words = (
        'Nothing was done yet: your log-in is too old for this. <a href="{}" class="text-link"'
        ' target="_blank">Sign in again</a> in a tab of its own, then send this form once more.'
    )
    messages.error(request, format_html(words, _again_url(request)))


def _form_of(request: HttpRequest, spec: FormAction, subject: Model | None) -> ActionForm:
    if request.method == "POST":
        return spec.form(request.POST, request.FILES, subject=subject)
    names = spec.form.from_address
    said = {name: request.GET[name] for name in names if name in request.GET}
    return spec.form(subject=subject, initial=said)


def _done(request: HttpRequest, form: ActionForm, do: Callable[[], Done]) -> Done | None:
    """Return what the action made of a valid form; None if there was none, or it was refused."""
    if not form.is_bound or not form.is_valid():
        return None
    try:
        return do()
    except BillingError as error:
        messages.error(request, error.message)
        if error.field in form.fields:
            form.add_error(error.field, error.message)
        return None


def _page(
    admin: Any, request: HttpRequest, form: ActionForm, spec: FormAction, about: dict[str, Any]
) -> HttpResponse:
    context = {
        **admin.admin_site.each_context(request),
        **about,
        "opts": admin.opts,
        "title": spec.title,
        "form": form,
        "action": spec,
        "media": admin.media + form.media,
    }
    request.current_app = admin.admin_site.name
    status = 422 if form.is_bound else 200
    return TemplateResponse(request, "backoffice/action.html", context, status=status)
