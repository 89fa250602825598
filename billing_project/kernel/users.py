"""Roles as groups, and the services that act without a person."""

from django.contrib.auth.models import Group, Permission

from billing_project.kernel.models import User

WORKER = "worker"

# Every role reads everything that has a page; these are the writes each may do, as permissions.
ROLES: dict[str, tuple[str, ...]] = {
    "support": (
        "credits.grant_credits",
        "credits.void_creditgrant",
        "invoicing.issue_creditnote",
        "metering.replay_quarantinedevent",
    ),
    "finance_maker": (
        "kernel.propose_policychange",
        "credits.grant_credits",
        "credits.void_creditgrant",
        "invoicing.issue_creditnote",
        "invoicing.finalize_invoice",
        "invoicing.record_payment",
    ),
    "finance_approver": (
        "kernel.approve_policychange",
        "invoicing.finalize_invoice",
        "revrec.close_accountingperiod",
    ),
    "engineering": (
        "metering.manage_meter",
        "metering.replay_quarantinedevent",
        "metering.adjust_meterevent",
        "kernel.manage_apikey",
    ),
    "product": ("kernel.propose_policychange",),
    "auditor": (),
}


def worker_user() -> User:
    """Return the service user that scheduled work is written under."""
    user, made = User.objects.get_or_create(
        username=WORKER, defaults={"is_service": True, "password": "!"}
    )
    del made
    return user


def ensure_roles() -> None:
    """Make the groups and give each its permissions; run after migrations, safe to repeat."""
    views = list(Permission.objects.filter(codename__startswith="view_"))
    for role, names in ROLES.items():
        wanted = [_permission(name) for name in names]
        group, _ = Group.objects.get_or_create(name=role)
        group.permissions.set([*views, *wanted])


def _permission(name: str) -> Permission:
    app_label, codename = name.split(".")
    return Permission.objects.get(content_type__app_label=app_label, codename=codename)
