"""Who acts in the demo."""

from dataclasses import dataclass

from billing_project.kernel.models import User


@dataclass(frozen=True)
class Cast:
    """The people who stand behind the demo's decisions."""

    product: User
    engineer: User
    maker: User
    approver: User
    support: User
