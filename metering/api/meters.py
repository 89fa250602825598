"""Meters and their versions."""

from datetime import datetime
from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing_project.kernel import clock
from billing_project.kernel.errors import Invalid, NotFound
from billing_project.kernel.models import User
from billing_project.kernel.period import Period
from billing_project.kernel.rest.fields import IntegerField, QuantityField, UtcDateTimeField
from billing_project.kernel.rest.views import ApiView
from metering.aggregation import Operator
from metering.models import Aggregation, Meter
from metering.models.meter import RoundingChoice
from metering.rounding import MAX_DECIMALS
from metering.selectors.meters import (
    deactivation_of,
    meter_called,
    meters_with_versions,
    version_in_force,
    versions_of,
)
from metering.services.meters import (
    create_meter,
    create_meter_version,
    deactivate_meter,
    preview_meter_version,
    reactivate_meter,
    withdraw_meter_version,
)
from metering.services.reading import Reading


class FilterSerializer(serializers.Serializer[Any]):
    """A condition on one property."""

    property = serializers.CharField(max_length=100)
    operator = serializers.ChoiceField([(str(one), str(one)) for one in Operator])
    value = serializers.JSONField(
        required=False,
        help_text="Text, whole number or boolean; a list of them for in; none for exists, absent.",
    )


class ReadingSerializer(serializers.Serializer[Any]):
    """How events are read: which ones, what they count, and what splits the quantity."""

    event_name = serializers.CharField(max_length=100)
    value_property = serializers.CharField(max_length=100, default="", allow_blank=True)
    constant_value = QuantityField(
        default=None, allow_null=True, help_text="What each event counts, in place of a property."
    )
    filters = FilterSerializer(many=True, default=list)
    dimensions = serializers.ListField(
        child=serializers.CharField(max_length=100), default=list, max_length=10
    )
    rounding_mode = serializers.ChoiceField(
        RoundingChoice.choices, default=RoundingChoice.HALF_EVEN.value
    )
    rounding_decimals = IntegerField(min_value=0, max_value=MAX_DECIMALS, default=MAX_DECIMALS)


class MeterVersionSerializer(ReadingSerializer):
    """A meter's reading from an instant on, with who made it and why."""

    number = serializers.IntegerField(read_only=True)
    effective_at = UtcDateTimeField(
        allow_null=True, help_text="A whole hour in the future; null in the first one."
    )
    reason = serializers.CharField(max_length=1000)
    is_active = serializers.BooleanField(
        read_only=True, help_text="Whether the meter counts anything from then on."
    )
    created_by = serializers.CharField(read_only=True, allow_null=True)
    created_at = UtcDateTimeField(read_only=True)
    withdrawn_at = UtcDateTimeField(read_only=True, allow_null=True)
    withdrawn_by = serializers.CharField(read_only=True, allow_null=True)
    withdrawal_reason = serializers.CharField(read_only=True)


class MeterSerializer(ReadingSerializer):
    """A meter, and how its version in force reads events."""

    code = serializers.CharField(max_length=64)
    name = serializers.CharField(max_length=200, required=False)
    aggregation = serializers.ChoiceField(Aggregation.choices)
    unit = serializers.CharField(max_length=40)
    reason = serializers.CharField(max_length=1000, default="", allow_blank=True, write_only=True)
    version = serializers.IntegerField(read_only=True)
    deactivated_at = UtcDateTimeField(
        read_only=True, allow_null=True, help_text="From when on the meter counts nothing."
    )
    created_at = UtcDateTimeField(read_only=True)

    def to_representation(self, instance: Meter) -> dict[str, Any]:
        """Write the meter with the version that is in force now."""
        versions = instance.versions.all()
        version, ending = version_in_force(versions, clock.now()), deactivation_of(versions)
        reading = {name: getattr(version, name) for name in Reading.__annotations__}
        content = {
            **vars(instance), **reading, "version": version.number,
            "deactivated_at": ending and ending.effective_at,
        }  # fmt: skip
        return super().to_representation(content)


class NewMeterVersionSerializer(MeterVersionSerializer):
    """How a meter reads from an instant on."""

    effective_at = UtcDateTimeField(help_text="A whole hour in the future.")


class PreviewRequestSerializer(ReadingSerializer):
    """How events would be read, and of which span it is asked."""

    start = UtcDateTimeField(
        default=None, allow_null=True, help_text="A whole hour; the last whole month if null."
    )
    end = UtcDateTimeField(
        default=None, allow_null=True, help_text="A whole hour that is over, not included."
    )


class PartSerializer(serializers.Serializer[Any]):
    """What one reading makes of events."""

    quantity = QuantityField()
    key_count = serializers.IntegerField(help_text="Workspaces and dimensions it is split by.")
    event_count = serializers.IntegerField()


class CustomerEffectSerializer(serializers.Serializer[Any]):
    """One customer's usage, as it is counted and as it would be."""

    customer = serializers.CharField()
    before = PartSerializer()
    after = PartSerializer()
    difference = QuantityField()


class ReadingEffectSerializer(serializers.Serializer[Any]):
    """What a version would have made of stored events, beside what was counted."""

    start = UtcDateTimeField()
    end = UtcDateTimeField()
    unit = serializers.CharField()
    event_count = serializers.IntegerField(help_text="Of the event names that either reads.")
    kept = serializers.IntegerField(help_text="Events that both count.")
    gained = serializers.IntegerField()
    lost = serializers.IntegerField()
    unreadable = serializers.IntegerField(
        help_text="Events without the value: such ones would wait in quarantine."
    )
    before = PartSerializer()
    after = PartSerializer()
    difference = QuantityField()
    customers = CustomerEffectSerializer(many=True, help_text="The largest difference first.")
    customer_count = serializers.IntegerField(help_text="All with usage; listed are at most 50.")


class WithdrawalSerializer(serializers.Serializer[Any]):
    """Why a version shall not take effect."""

    reason = serializers.CharField(max_length=1000)


class ActivitySerializer(serializers.Serializer[Any]):
    """From when on a meter counts nothing, or counts again, and why."""

    effective_at = UtcDateTimeField(
        default=None, allow_null=True, help_text="A whole hour that no event can have reached."
    )
    reason = serializers.CharField(max_length=1000)


class MetersView(ApiView):
    """All meters."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read", "POST": "admin"}

    @extend_schema(responses=MeterSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List meters."""
        return self.page(request, meters_with_versions(), MeterSerializer)

    @extend_schema(request=MeterSerializer, responses={201: MeterSerializer})
    def post(self, request: Request) -> Response:
        """Make a meter; it counts the events that are stored from now on."""
        values = {**self.valid(MeterSerializer, request.data)}
        values.setdefault("name", values["code"])
        meter = create_meter(**values, by=cast(User, request.user), at=clock.now())
        return Response(MeterSerializer(meter).data, status=201)


class MeterVersionsView(ApiView):
    """A meter's versions: its history, and how it will read events."""

    scopes: ClassVar[dict[str, str]] = {"GET": "usage:read", "POST": "admin"}

    @extend_schema(responses=MeterVersionSerializer(many=True))
    def get(self, request: Request, code: str) -> Response:
        """List a meter's versions, the newest first."""
        return self.page(request, versions_of(meter_called(code)), MeterVersionSerializer)

    @extend_schema(request=NewMeterVersionSerializer, responses={201: MeterVersionSerializer})
    def post(self, request: Request, code: str) -> Response:
        """Let the meter read events otherwise from an hour in the future on."""
        values = self.valid(NewMeterVersionSerializer, request.data)
        version = create_meter_version(
            meter=meter_called(code), **values, by=cast(User, request.user), at=clock.now()
        )
        return Response(MeterVersionSerializer(version).data, status=201)


class MeterVersionPreviewView(ApiView):
    """What a version would change, before it is made."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(request=PreviewRequestSerializer, responses=ReadingEffectSerializer)
    def post(self, request: Request, code: str) -> Response:
        """Compare what a version would have counted with what was counted; nothing is stored.

        Read are the events of a span of at most 500,000 of them.
        """
        values = self.valid(PreviewRequestSerializer, request.data)
        period = _period(values.pop("start"), values.pop("end"))
        effect = preview_meter_version(
            meter=meter_called(code), at=clock.now(), period=period, **values
        )
        return Response(ReadingEffectSerializer(effect).data)


class MeterVersionWithdrawalView(ApiView):
    """Versions that shall not take effect."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(request=WithdrawalSerializer, responses=MeterVersionSerializer)
    def post(self, request: Request, code: str, number: int) -> Response:
        """Withdraw a version before it takes effect."""
        version = versions_of(meter_called(code)).filter(number=number).first()
        if version is None:
            raise NotFound(f"meter {code} has no version {number}")
        values = self.valid(WithdrawalSerializer, request.data)
        withdrawn = withdraw_meter_version(
            version=version, **values, by=cast(User, request.user), at=clock.now()
        )
        return Response(MeterVersionSerializer(withdrawn).data)


class MeterDeactivationView(ApiView):
    """Meters that shall count nothing any more."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(request=ActivitySerializer, responses={201: MeterVersionSerializer})
    def post(self, request: Request, code: str) -> Response:
        """Deactivate a meter from an hour on, the next one if none is named.

        Its later events are kept in quarantine unless another meter reads them.
        """
        values = self.valid(ActivitySerializer, request.data)
        version = deactivate_meter(
            meter=meter_called(code), **values, by=cast(User, request.user), at=clock.now()
        )
        return Response(MeterVersionSerializer(version).data, status=201)


class MeterReactivationView(ApiView):
    """Meters that shall count again."""

    scopes: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(request=ActivitySerializer, responses={201: MeterVersionSerializer})
    def post(self, request: Request, code: str) -> Response:
        """Reactivate a meter from an hour on; as if it had never stopped if none is named.

        Answers the version that reads events from then on.
        """
        values = self.valid(ActivitySerializer, request.data)
        version = reactivate_meter(
            meter=meter_called(code), **values, by=cast(User, request.user), at=clock.now()
        )
        return Response(MeterVersionSerializer(version).data, status=201)


def _period(start: datetime | None, end: datetime | None) -> Period | None:
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise Invalid("start and end come together", field="end" if start else "start")
    if end <= start:
        raise Invalid("start comes before end", field="end")
    return Period(start, end)
