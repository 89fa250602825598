"""In which time zone the days of the books begin."""

from django.db import models

from billing_project.kernel.models import PolicyChange


class BooksZone(models.Model):
    """A choice of the zone; the newest approved one holds, and without one it is UTC.

    The months of the books are shared by all entities, and so is their zone. Once anything is
    posted PostgreSQL refuses an approval: what was dated by one zone would lie in another's months.
    """

    number = models.PositiveIntegerField(unique=True)
    zone = models.CharField(max_length=64)  # IANA: "Europe/Berlin".
    policy_change = models.OneToOneField(PolicyChange, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "books_zone"
        ordering = ["-number"]

    def __str__(self) -> str:
        return f"{self.zone} (v{self.number})"
