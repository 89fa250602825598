"""Who answers for each step of the chain, by name."""

from django.db import models

from billing_project.kernel.models.access import User


class ChainStep(models.TextChoices):
    """A translation of the chain: from a raw event to recognised revenue, in this order."""

    CAPTURE = "capture"
    AGGREGATE = "aggregate"
    RATE = "rate"
    DRAW_DOWN = "draw_down", "Draw down"
    INVOICE = "invoice"
    RECOGNISE = "recognise"


class StepFunction(models.TextChoices):
    PRODUCT = "product"
    ENGINEERING = "engineering"
    FINANCE = "finance"


class StepOwner(models.Model):
    """A person who answers for a step for one function; append-only, a newer row replaces."""

    step = models.CharField(max_length=12, choices=ChainStep.choices)
    function = models.CharField(max_length=12, choices=StepFunction.choices)
    person = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    since_at = models.DateTimeField()
    reason = models.TextField()
    named_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    named_at = models.DateTimeField()

    class Meta:
        db_table = "step_owner"
        ordering = ["-id"]
        permissions = [("name_stepowner", "Can name who answers for a step")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(step__in=ChainStep.values), name="step_owner_step_known"
            ),
            models.CheckConstraint(
                condition=models.Q(function__in=StepFunction.values),
                name="step_owner_function_known",
            ),
            models.CheckConstraint(
                condition=~models.Q(reason__regex=r"^\s*$"), name="step_owner_has_reason"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_step_display()}, {self.function}: {self.person}"
