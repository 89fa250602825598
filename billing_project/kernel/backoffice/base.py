"""The read-only admin: facts are shown, never edited; what changes them is an action.

Pages follow Django's view permissions, which every role has. Writing is refused to everybody,
superusers included: the address that would save answers 403.
"""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from django.contrib.admin import ShowFacets
from django.contrib.admin.utils import flatten, flatten_fieldsets, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import DateTimeField, IntegerField, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from simple_history.template_utils import HistoricalRecordContextHelper

from billing_project.kernel.backoffice.actions import FormAction
from billing_project.kernel.backoffice.display import moment, moment_text
from billing_project.kernel.backoffice.keyset import KeysetChangeList, KeysetPaginator
from billing_project.kernel.backoffice.long_lists import (
    found_by_index,
    is_long,
    paginator_of,
    with_usual_values,
)
from billing_project.kernel.backoffice.related import Link, links_of, list_url
from billing_project.kernel.models import AuditEntry, User

if TYPE_CHECKING:
    from django.contrib import admin

    _Admin = admin.ModelAdmin[Any]
    _Inline = admin.TabularInline[Any, Any]

    class _History:
        """Stands for SimpleHistoryAdmin, which has no types."""
else:
    from simple_history.admin import SimpleHistoryAdmin as _History
    from unfold.admin import ModelAdmin as _Admin
    from unfold.admin import TabularInline as _Inline


class Fresh(Protocol):
    """Until when usage is included, and how long ago that was."""

    @property
    def as_of(self) -> datetime:
        """Everything stored before is included."""

    @property
    def lag_seconds(self) -> Decimal:
        """Seconds since then."""


_EXACTLY = "This list is long: it is not counted, and a search finds exact values."
_MOST_RELATED = 100  # Related rows that one search follows.
_MOST_DIGITS = 18  # Fits bigint.


class ReadOnlyAdmin(_Admin):
    """Shows rows of one model; its only writes are the actions it names."""

    fields: ClassVar[tuple[Any, ...] | None] = None  # Names, and callables of `display`.
    fieldsets: ClassVar[tuple[Any, ...] | None] = None
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    list_filter_submit = True
    list_before_template = "backoffice/as_of.html"
    actions_detail: tuple[str, ...] = ()
    change_form_outer_before_template = "backoffice/related.html"
    compressed_fields = True
    has_versions = False  # Whether the history button shows versions of the row.

    def __init__(self, model: type[Model], admin_site: Any) -> None:
        super().__init__(model, admin_site)
        # On the instance, because Django's checks read the attributes.
        self.list_display = with_moments(model, self.list_display)
        self.fields = with_moments(model, self.fields)  # type: ignore[misc]
        self.fieldsets = with_moments(model, self.fieldsets)  # type: ignore[misc]
        self.readonly_fields = _shown(self.fieldsets, self.fields)  # type: ignore[misc]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: rows are made by services."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: facts are never edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: nothing is deleted."""
        return False

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        """Offer the actions that this person may do and this object's state admits."""
        actions: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        with_forms = [a for a in actions if hasattr(a.method, "form_action")]
        if not with_forms:
            return actions
        subject = self.get_object(request, unquote(str(object_id)))
        return [a for a in actions if _is_shown(a, request.user, subject)]

    def get_actions_list(self, request: HttpRequest) -> list[Any]:
        """Offer the actions above the list that this person may do."""
        actions: list[Any] = super().get_actions_list(request)  # type: ignore[misc]
        return [a for a in actions if _is_admitted(a, request.user)]

    def get_list_display_links(self, request: HttpRequest, list_display: Any) -> Any:
        """Lead to a row's page by the first column that is no link: none opens inside another."""
        own = [one for one in list_display if not hasattr(one, "leads_elsewhere")]
        return super().get_list_display_links(request, own)

    @property
    def what(self) -> str:
        """What the list is of, in the words of the class; an empty list says it."""
        return (self.__doc__ or "").strip().partition("\n")[0]

    def freshness(self) -> Fresh | None:
        """Return how far usage is counted in the figures of the list; None: not made of it."""
        return None

    def note(self) -> str:
        """Return what a reader of the list has to know; empty: nothing."""
        return ""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Say above a list what it does not show, and until when figures of usage hold."""
        note = self.note() or (_EXACTLY if self.search_fields and is_long(self.model) else "")
        context = {**(extra_context or {}), "fresh": self.freshness(), "note": note}
        return super().changelist_view(request, context)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Leave the calendar of a long list out: it reads every row."""
        changelist = super().get_changelist_instance(request)
        if is_long(self.model):
            changelist.date_hierarchy = None
        return changelist

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Offer what a long list's columns usually hold, as every row would have to be read."""
        filters = super().get_list_filter(request)
        return with_usual_values(self.model, filters) if is_long(self.model) else filters

    def get_changelist(self, request: HttpRequest, **said: Any) -> type[KeysetChangeList]:
        """Turn the pages of what is not counted by key."""
        return KeysetChangeList

    def get_paginator(
        self, request: HttpRequest, queryset: QuerySet[Any], per_page: int, *args: Any, **said: Any
    ) -> Any:
        """Count as far as people turn pages."""
        if self.paginator is KeysetPaginator:
            return super().get_paginator(request, queryset, per_page, *args, **said)
        return paginator_of(queryset, per_page)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find rows by parts of words; where the table is long, exactly and by an index."""
        if is_long(self.model):
            return self.found_exactly(request, queryset, search_term), False
        return super().get_search_results(request, queryset, search_term)

    def found_exactly(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> QuerySet[Any]:
        """Find rows by any of the search fields, each exactly and by its own index."""
        words = search_term.strip().replace("\x00", "")
        if not words:
            return queryset
        wanted = Q(pk__in=[])
        paths = [str(path).lstrip("=^@") for path in self.get_search_fields(request)]
        for path in found_by_index(self.model, paths) if is_long(self.model) else paths:
            wanted |= _exactly(self.model, path, words)
        return queryset.filter(wanted)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Refuse every write; there is nothing that a form here could save."""
        if request.method not in {"GET", "HEAD"} or object_id is None:
            raise PermissionDenied
        return super().changeform_view(request, object_id, form_url, extra_context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add the links that other apps offer for this object, and its audit trail."""
        obj = context.get("original")
        if obj is not None:
            audit_trail = Link("Audit trail", self._audit_url(obj.pk), "history_edu")
            context["related_links"] = [*links_of(obj), audit_trail]
            context["show_history"] = self.has_versions
        return super().render_change_form(request, context, *args, **kwargs)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show what was done to the object: its audit entries."""
        return HttpResponseRedirect(self._audit_url(unquote(object_id)))

    def _audit_url(self, key: object) -> str:
        return list_url(AuditEntry, {"subject__exact": f"{self.opts.model_name}:{key}"})


class LargeTableAdmin(ReadOnlyAdmin):
    """A table that grows with usage: newest first, never counted, searched by exact values."""

    fields: ClassVar[tuple[Any, ...] | None] = None  # Said again: mypy asks it of each base.
    fieldsets: ClassVar[tuple[Any, ...] | None] = None
    paginator = KeysetPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find rows exactly, however few there are yet."""
        return self.found_exactly(request, queryset, search_term), False


class Versions(HistoricalRecordContextHelper):  # type: ignore[misc]
    """What a version changed: instants in the viewer's zone."""

    def prepare_delta_change_value(self, change: Any, value: Any) -> Any:
        """Write an instant as text."""
        if value is None or isinstance(value, datetime):
            return moment_text(value)
        return super().prepare_delta_change_value(change, value)


class HistoryAdmin(_History, ReadOnlyAdmin):
    """A read-only admin of configuration: its history page lists each version of the row."""

    fields: ClassVar[tuple[Any, ...] | None] = None
    has_versions = True

    def get_historical_record_context_helper(
        self, request: HttpRequest, historical_record: Any
    ) -> HistoricalRecordContextHelper:
        """Write what changed as pages do."""
        return Versions(self.model, historical_record)

    def history_form_view(
        self,
        request: HttpRequest,
        object_id: str,
        version_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one version; a POST here would write it back, and is refused."""
        if request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        response: HttpResponse = super().history_form_view(  # type: ignore[misc]
            request, object_id, version_id, extra_context
        )
        return response


class ReadOnlyInline(_Inline):
    """Rows under an object: capped by pages, joined in one query, never edited."""

    fields: ClassVar[tuple[Any, ...] | None] = None
    extra = 0
    can_delete = False
    per_page = 20
    hide_title = True
    tab = True
    ordering: ClassVar[tuple[str, ...]] = ("id",)
    list_select_related: tuple[str, ...] = ()

    def __init__(self, parent_model: type[Model], admin_site: Any) -> None:
        super().__init__(parent_model, admin_site)
        # On the instance, because Django's checks read the attributes.
        self.fields = with_moments(self.model, self.fields)  # type: ignore[misc]
        self.fieldsets = with_moments(self.model, self.fieldsets)  # type: ignore[misc]
        self.readonly_fields = _shown(self.fieldsets, self.fields)  # type: ignore[misc]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Join what the columns read."""
        queryset = super().get_queryset(request)
        return (
            queryset.select_related(*self.list_select_related)
            if self.list_select_related
            else queryset
        )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: rows are made by services."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: facts are never edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: nothing is deleted."""
        return False


def with_moments(model: type[Model], entries: Any) -> Any:
    """Let plain names of instants show as instants do everywhere; what holds names is kept."""
    if isinstance(entries, str):
        field = next((one for one in model._meta.fields if one.name == entries), None)
        if isinstance(field, DateTimeField):
            return moment(entries, str(field.verbose_name))
        return entries
    if isinstance(entries, dict):
        return {
            key: with_moments(model, value) if key == "fields" else value
            for key, value in entries.items()
        }
    if isinstance(entries, list | tuple):
        return type(entries)(with_moments(model, entry) for entry in entries)
    return entries


def _shown(fieldsets: Any, fields: Any) -> tuple[Any, ...]:
    if fieldsets:
        return tuple(flatten_fieldsets(fieldsets))
    return tuple(flatten(fields or ()))


def _exactly(model: type[Model], path: str, words: str) -> Q:
    """Match a column with words; a column of a related row by the ids of those rows."""
    head, _, rest = path.partition("__")
    field = model._meta.get_field(head)
    if rest:
        related: Any = field.related_model
        rows = related._default_manager.filter(_exactly(related, rest, words))
        return Q(**{f"{head}__in": list(rows.values_list("pk", flat=True)[:_MOST_RELATED])})
    if isinstance(field, IntegerField) and not is_id(words):
        return Q(pk__in=[])
    return Q(**{head: words})


def is_id(words: str) -> bool:
    """Tell whether words are digits that fit a bigint."""
    return words.isascii() and words.isdigit() and len(words) <= _MOST_DIGITS


def _is_admitted(entry: Any, user: Any) -> bool:
    spec: FormAction | None = getattr(entry.method, "form_action", None)
    return spec is None or (isinstance(user, User) and spec.admits(user))


def _is_shown(entry: Any, user: Any, subject: Model | None) -> bool:
    spec: FormAction | None = getattr(entry.method, "form_action", None)
    if spec is None:
        return True
    return isinstance(user, User) and subject is not None and spec.is_shown(user, subject)
