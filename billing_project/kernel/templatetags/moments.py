"""Instants in templates."""

from django import template

from billing_project.kernel.backoffice.moments import (
    kept_moment_html,
    moment_html,
    moment_text,
    sentence_html,
)

register = template.Library()
register.filter("moment", moment_html, is_safe=True)
register.filter("kept_moment", kept_moment_html, is_safe=True)
register.filter("moment_text", moment_text)
register.filter("sentence", sentence_html, is_safe=True)
