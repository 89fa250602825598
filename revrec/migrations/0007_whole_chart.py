from django.db import migrations

# (code, name, debit-normal, monetary): what the posting rules may use beyond 0003.
ACCOUNTS = [
    ("1190", "Expected-credit-loss allowance", False, True),
    ("1210", "Contract asset", True, True),
    ("1230", "Disputed funds receivable", True, True),
    ("1990", "FX clearing", True, True),
    ("2190", "Expected breakage (contra 2100)", True, False),
    ("2210", "Refund liability", False, True),
    ("2300", "Tax payable", False, True),
    ("2400", "Unclaimed property", False, True),
    ("4040", "Revenue: commit shortfall", False, False),
    ("4910", "Refunds beyond the liability", True, False),
    ("4920", "Disputes lost", True, False),
    ("6100", "Processor fees", True, False),
    ("6110", "Dispute fees", True, False),
    ("6200", "Impairment loss", True, False),
    ("7000", "FX gain and loss", True, False),
    ("7900", "Rounding", True, False),
]


def add_accounts(apps, schema_editor):
    account = apps.get_model("revrec", "LedgerAccount")
    for code, name, is_debit_normal, is_monetary in ACCOUNTS:
        account.objects.get_or_create(
            code=code,
            defaults={"name": name, "is_debit_normal": is_debit_normal, "is_monetary": is_monetary},
        )


class Migration(migrations.Migration):
    """The rest of the chart of accounts."""

    dependencies = [("revrec", "0006_ledger_seal")]
    operations = [migrations.RunPython(add_accounts, migrations.RunPython.noop)]
