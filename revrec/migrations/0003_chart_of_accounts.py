from django.db import migrations

# (code, name, debit-normal, monetary). Source: the chart in docs/accounting.md.
ACCOUNTS = [
    ("1000", "Cash and processor clearing", True, True),
    ("1100", "Accounts receivable", True, True),
    ("1200", "Unbilled receivable", True, True),
    ("2100", "Contract liability: credit grants", False, False),
    ("2120", "Contract liability: fees", False, False),
    ("2200", "Customer balance", False, True),
    ("4000", "Revenue: base fees", False, False),
    ("4010", "Revenue: prepaid usage", False, False),
    ("4020", "Revenue: overage", False, False),
    ("4030", "Revenue: breakage", False, False),
    ("4900", "Credit notes", True, False),
]


def add_accounts(apps, schema_editor):
    account = apps.get_model("revrec", "LedgerAccount")
    for code, name, is_debit_normal, is_monetary in ACCOUNTS:
        account.objects.get_or_create(
            code=code,
            defaults={
                "name": name,
                "is_debit_normal": is_debit_normal,
                "is_monetary": is_monetary,
            },
        )


class Migration(migrations.Migration):
    """The chart of accounts that the posting rules use."""

    dependencies = [("revrec", "0002_guards")]
    operations = [migrations.RunPython(add_accounts, migrations.RunPython.noop)]
