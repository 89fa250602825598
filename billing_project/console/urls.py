"""Addresses of the console's own pages, beside the admin's."""

from django.contrib import admin
from django.urls import path

from billing_project.console.approvals_page import approvals_page
from billing_project.console.books import books_page
from billing_project.console.burn_table_page import burn_table_page
from billing_project.console.completeness_page import completeness_page
from billing_project.console.exceptions_page import exceptions_page
from billing_project.console.explaining_page import explaining_page
from billing_project.console.lineage_page import lineage_page
from billing_project.console.near_duplicates_page import near_duplicates_page
from billing_project.console.openings_page import openings_page
from billing_project.console.owners_page import name_owner_page, owners_page
from billing_project.console.policies_page import policies_page
from billing_project.console.reports_page import report_page, reports_page
from billing_project.console.scenarios_page import scenarios_page
from billing_project.console.sign_in.again_page import sign_in_again_page
from billing_project.console.sign_in.factor_page import second_factor_page
from billing_project.console.sign_in.pages import (
    own_page,
    own_time_zone_page,
    sign_in_page,
    sign_out_device_page,
    sign_out_page,
)
from billing_project.console.sign_in.password_page import own_password_page
from billing_project.console.unrated_page import unrated_page
from billing_project.console.usage_page import usage_page
from billing_project.console.window_events_page import window_events_page

app_name = "console"
urlpatterns = [
    # In front of the admin's own three, under their names: reverse("admin:login") leads here.
    path("login/", sign_in_page),
    path("logout/", sign_out_page),
    path("password_change/", admin.site.admin_view(own_password_page)),
    path("your-log-in/", admin.site.admin_view(own_page), name="own_sign_in"),
    path("sign-in-again/", admin.site.admin_view(sign_in_again_page), name="sign_in_again"),
    path("second-factor/", admin.site.admin_view(second_factor_page), name="second_factor"),
    path("your-log-in/time-zone/", admin.site.admin_view(own_time_zone_page), name="own_time_zone"),
    path(
        "your-log-in/sign-out/", admin.site.admin_view(sign_out_device_page), name="sign_out_device"
    ),
    path("lineage/", admin.site.admin_view(lineage_page), name="lineage"),
    path("why/", admin.site.admin_view(explaining_page), name="why"),
    path("approvals/", admin.site.admin_view(approvals_page), name="approvals"),
    path("exceptions/", admin.site.admin_view(exceptions_page), name="exceptions"),
    path("usage/", admin.site.admin_view(usage_page), name="usage"),
    path(
        "usage-windows/<int:window_id>/events/",
        admin.site.admin_view(window_events_page),
        name="window_events",
    ),
    path("near-duplicates/", admin.site.admin_view(near_duplicates_page), name="near_duplicates"),
    path("burn-table/", admin.site.admin_view(burn_table_page), name="burn_table"),
    path("scenarios/", admin.site.admin_view(scenarios_page), name="scenarios"),
    path("unrated/", admin.site.admin_view(unrated_page), name="unrated"),
    path("completeness/", admin.site.admin_view(completeness_page), name="completeness"),
    path("openings/", admin.site.admin_view(openings_page), name="openings"),
    path("policies/", admin.site.admin_view(policies_page), name="policies"),
    path("owners/", admin.site.admin_view(owners_page), name="owners"),
    path("owners/name/", admin.site.admin_view(name_owner_page), name="name_owner"),
    path("reports/", admin.site.admin_view(reports_page), name="reports"),
    path("reports/<str:name>/", admin.site.admin_view(report_page), name="report"),
    path("books/", admin.site.admin_view(books_page), name="books"),
]
