"""Pages of the ground: policy changes to decide, keys, people, and what was done."""

from billing_project.kernel.admin import access, changes, sign_in, webhooks

__all__ = ["access", "changes", "sign_in", "webhooks"]
