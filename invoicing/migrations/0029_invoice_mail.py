import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing_project.kernel.guards import facts_with_state


class Migration(migrations.Migration):
    """Mails with issued invoices, and links to the page where customers see them."""

    dependencies = [
        ('invoicing', '0028_invoice_document'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='HostedLink',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('made_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('revoke_reason', models.CharField(blank=True, max_length=500)),
                ('invoice', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='hosted_links', to='invoicing.invoice')),
                ('made_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('revoked_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'hosted_link',
                'ordering': ['-id'],
                'permissions': [('revoke_hostedlink', "Can revoke a link to an invoice's page")],
                'constraints': [models.CheckConstraint(condition=models.Q(('expires_at__gt', models.F('made_at'))), name='hosted_link_lasts'), models.CheckConstraint(condition=models.Q(models.Q(('revoke_reason', ''), ('revoked_at__isnull', True), ('revoked_by__isnull', True)), models.Q(('revoke_reason__gt', ''), ('revoked_at__isnull', False), ('revoked_by__isnull', False)), _connector='OR'), name='hosted_link_revoked_by_someone')],
            },
        ),
        migrations.CreateModel(
            name='InvoiceMail',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source_key', models.CharField(max_length=200, unique=True)),
                ('address', models.EmailField(max_length=254)),
                ('queued_at', models.DateTimeField()),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('next_try_at', models.DateTimeField(blank=True, null=True)),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
                ('given_up_at', models.DateTimeField(blank=True, null=True)),
                ('failure', models.CharField(blank=True, max_length=300)),
                ('invoice', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='mails', to='invoicing.invoice')),
                ('queued_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'invoice_mail',
                'ordering': ['-id'],
                'permissions': [('send_invoicemail', 'Can send an invoice to its customer')],
                'indexes': [models.Index(condition=models.Q(('next_try_at__isnull', False)), fields=['next_try_at'], name='invoice_mail_due')],
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('given_up_at__isnull', True), ('next_try_at__isnull', False), ('sent_at__isnull', True)), models.Q(('given_up_at__isnull', True), ('next_try_at__isnull', True), ('sent_at__isnull', False)), models.Q(('given_up_at__isnull', False), ('next_try_at__isnull', True), ('sent_at__isnull', True)), _connector='OR'), name='invoice_mail_one_state'), models.CheckConstraint(condition=models.Q(('sent_at__isnull', True), ('attempts__gt', 0), _connector='OR'), name='invoice_mail_sent_once')],
            },
        ),
        facts_with_state("hosted_link", "revoked_at", "revoked_by_id", "revoke_reason"),
        facts_with_state(
            "invoice_mail", "attempts", "next_try_at", "sent_at", "given_up_at", "failure"
        ),
    ]
