"""Roles as groups, and the services that act without a person."""

from datetime import datetime
from zoneinfo import available_timezones

from django.contrib.auth.models import Group, Permission

from billing_project.kernel import audit
from billing_project.kernel.errors import Invalid
from billing_project.kernel.models import User

WORKER = "worker"

# Every role reads everything that has a page; these are the writes each may do, as permissions.
# What an auditor asks for changes nothing but the list of what was asked for.
ROLES: dict[str, tuple[str, ...]] = {
    "support": (
        "credits.grant_credits",
        "credits.void_creditgrant",
        "metering.close_customer",
        "invoicing.issue_creditnote",
        "invoicing.send_invoicemail",
        "invoicing.revoke_hostedlink",
        "invoicing.decide_outcome",
        "invoicing.manage_subscription",
        "invoicing.manage_autorecharge",
        "invoicing.record_customertaxid",
        "invoicing.record_customeraddress",
        "invoicing.record_invoicesplit",
        "metering.replay_quarantinedevent",
        "metering.acknowledge_lagepisode",
        "credits.acknowledge_unratedepisode",
        "credits.acknowledge_alert",
        "credits.manage_anomaly",
        "revrec.sign_closeexception",
    ),
    "finance_maker": (
        "kernel.propose_policychange",
        "credits.grant_credits",
        "credits.reconcile_supplierbill",
        "credits.void_creditgrant",
        "metering.close_customer",
        "metering.decide_lateevent",
        "invoicing.issue_creditnote",
        "invoicing.send_invoicemail",
        "invoicing.revoke_hostedlink",
        "invoicing.issue_large_creditnote",
        "invoicing.decide_outcome",
        "invoicing.finalize_invoice",
        "invoicing.manage_subscription",
        "invoicing.manage_autorecharge",
        "invoicing.record_payment",
        "invoicing.record_refund",
        "invoicing.void_invoice",
        "revrec.propose_close",
        "revrec.export_journal",
        "revrec.make_auditpack",
        "revrec.map_accounts",
        "invoicing.record_customertaxid",
        "invoicing.record_customeraddress",
        "invoicing.record_invoicesplit",
        "invoicing.assign_legalentity",
        "invoicing.void_creditnote",
        "revrec.sign_closeexception",
        "invoicing.release_billinghold",
        "invoicing.import_openings",
    ),
    "finance_approver": (
        "kernel.approve_policychange",
        "kernel.name_stepowner",
        "credits.sign_controlcheckpoint",
        "invoicing.finalize_invoice",
        "invoicing.void_invoice",
        "invoicing.void_creditnote",
        "invoicing.write_off_invoice",
        "invoicing.approve_invoice",
        "invoicing.release_billinghold",
        "revrec.propose_close",
        "revrec.close_accountingperiod",
        "revrec.export_journal",
        "revrec.make_auditpack",
        "revrec.map_accounts",
        "revrec.sign_closeexception",
    ),
    "legal": (
        "kernel.approve_policychange_legal",
        "revrec.sign_closeexception",
    ),
    "engineering": (
        "metering.manage_meter",
        "metering.replay_quarantinedevent",
        "metering.adjust_meterevent",
        "metering.make_backfill",
        "metering.import_events",
        "metering.repair_usagewindow",
        "metering.acknowledge_lagepisode",
        "kernel.manage_apikey",
        "kernel.manage_webhookendpoint",
        "credits.manage_anomaly",
        "kernel.name_stepowner",
        "revrec.sign_closeexception",
    ),
    "product": (
        "kernel.propose_policychange",
        "kernel.name_stepowner",
        "credits.grant_credits",
        "credits.void_creditgrant",
        "credits.acknowledge_unratedepisode",
        "credits.acknowledge_alert",
        "credits.manage_anomaly",
        "credits.reconcile_supplierbill",
        "credits.sign_controlcheckpoint",
        "revrec.sign_closeexception",
    ),
    "auditor": ("revrec.make_auditpack",),
    "owner": ("kernel.manage_signin",),  # Looks after people, and after no money.
}


def set_time_zone(*, user: User, zone: str, by: User, at: datetime) -> User:
    """Say in whose times a person reads instants; "" is the seller's.

    Raises:
        Invalid: there is no such time zone.
    """
    if zone and zone not in available_timezones():
        raise Invalid(f"there is no time zone {zone}", field="time_zone")
    user.time_zone = zone
    user.save(update_fields=["time_zone"])
    audit.record(by=by, at=at, action="set_time_zone", subject=user, time_zone=zone)
    return user


def worker_user() -> User:
    """Return the service user that scheduled work is written under."""
    user, made = User.objects.get_or_create(
        username=WORKER, defaults={"is_service": True, "password": "!"}
    )
    del made
    return user


def person_named(username: str, field: str) -> User:
    """Return the active person of a name that a caller wrote.

    Raises:
        Invalid: nobody of that name, a service, or somebody who left.
    """
    found = User.objects.filter(username=username, is_active=True, is_service=False).first()
    if found is None:
        raise Invalid(f"no active person is called {username}", field=field)
    return found


def ensure_roles() -> None:
    """Make the groups and give each its permissions; run after migrations, safe to repeat."""
    Group.objects.bulk_create((Group(name=role) for role in ROLES), ignore_conflicts=True)
    groups = dict(Group.objects.filter(name__in=ROLES).values_list("name", "pk"))
    permissions = _permissions()
    views = {pk for name, pk in permissions.items() if name.split(".")[1].startswith("view_")}
    wanted = {
        (groups[role], pk)
        for role, names in ROLES.items()
        for pk in views.union(permissions[name] for name in names)
    }
    _grant_only(set(groups.values()), wanted)


def _permissions() -> dict[str, int]:
    """Return the id of every permission by its name ("credits.grant_credits")."""
    rows = Permission.objects.values_list("content_type__app_label", "codename", "pk").order_by()
    return {f"{app_label}.{codename}": pk for app_label, codename, pk in rows}


def _grant_only(groups: set[int], wanted: set[tuple[int, int]]) -> None:
    """Let the groups have these permissions (group, permission) and no others."""
    given = Group.permissions.through.objects.filter(group_id__in=groups)
    standing = {(row.group_id, row.permission_id): row.pk for row in given}
    given.filter(pk__in=[standing[pair] for pair in standing.keys() - wanted]).delete()
    Group.permissions.through.objects.bulk_create(
        (
            Group.permissions.through(group_id=group, permission_id=permission)
            for group, permission in wanted - standing.keys()
        ),
        ignore_conflicts=True,
    )
