"""Make the key that seals the journal."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing_project.kernel.errors import Conflict
from revrec.services.sealing import make_sealing_key


class Command(BaseCommand):
    help = "Make an Ed25519 key at SEALING_KEY_FILE; an existing one is never replaced."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            public = make_sealing_key()
        except Conflict as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"Made the key. Give auditors its public half, {public.name}.")
