"""Five stories, each from the home page by clicks, as somebody does who has never been here."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.clicking import SignIn, act, confirm, go, open_row, seen
from tests.browser.office import Office

pytestmark = pytest.mark.browser


def test_support_credits_a_wrong_line_and_the_credits_come_back(
    office: Office, signed_in: SignIn
) -> None:
    page = signed_in("sam.support")
    seen(page, "home")

    go(page, "Invoicing · finance and support", "Invoices")
    seen(page, "invoices")
    open_row(page, "INV-000040")
    seen(page, "invoice")
    act(page, "Issue credit note")
    inputs = page.locator(".bo-credit input")
    inputs.nth(0).fill("9.055")  # The server reads no tenth of a cent: neither does the page.
    expect(page.locator(".bo-credit [role=alert]").first).to_contain_text("“9.055” is no amount")
    expect(page.locator(".bo-credit [role=status]")).to_be_hidden()
    inputs.nth(0).fill("9.05")
    inputs.nth(1).fill("1000")
    page.locator("select[name=reason]").select_option("billing_error")
    expect(page.locator(".bo-credit [role=status]")).to_contain_text("9.05 USD")
    seen(page, "credit-note")
    confirm(page, "Issue credit note", memo="The agent ran against the wrong model")

    expect(page.get_by_text("CN-").first).to_be_visible()
    expect(page.locator("main, #content, body").first).to_contain_text("100.00 USD")  # Open now.
    page.go_back()
    expect(inputs.nth(0)).to_have_value("")  # Sent once more, it would be a second note.
    page.go_forward()
    page.get_by_role("link", name="Customer 01", exact=True).first.click()
    seen(page, "customer")
    page.locator("#grants-title").evaluate("title => title.scrollIntoView()")
    seen(page, "customer-account")
    expect(page.locator("body")).to_contain_text("1,000")


def test_finance_decides_on_what_product_proposed_and_not_on_her_own(
    office: Office, signed_in: SignIn
) -> None:
    product = signed_in("pat.product")
    product.get_by_role("link", name="Approvals", exact=True).first.click()
    expect(product.locator("table")).to_contain_text(
        "You proposed this change: somebody else decides on it."
    )

    page = signed_in("ann.approver")
    page.get_by_role("link", name="Approvals", exact=True).first.click()
    seen(page, "approvals")
    row = page.get_by_role("row", name="Standard rates, version 2")
    expect(row).not_to_contain_text("no figure changes")  # The month's usage becomes cheaper.
    row.get_by_role("link", name="Decide").click()
    seen(page, "policy-change")
    act(page, "Approve")
    confirm(page, "Approve", reason="The margin stays above the floor")

    expect(page.locator("body")).to_contain_text("ann.approver")
    page.get_by_role("link", name="Approvals", exact=True).first.click()
    expect(page.locator("body")).not_to_contain_text("Standard rates, version 2")


def test_engineering_maps_an_unknown_customer_and_replays(
    office: Office, signed_in: SignIn
) -> None:
    office.send("renamed-corp")
    page = signed_in("eli.engineer")

    page.get_by_role("link", name="Exceptions", exact=True).first.click()
    seen(page, "exceptions")
    page.get_by_role("link", name=re.compile("renamed-corp")).click()
    act(page, "Map to customer")
    seen(page, "map-customer")
    page.locator("[name=customer]").fill("cust-01")
    confirm(page, "Map to customer", reason="They were renamed in the CRM")

    page.get_by_role("link", name="Exceptions", exact=True).first.click()
    expect(page.locator("body")).not_to_contain_text("renamed-corp")


def test_an_auditor_walks_from_a_line_to_events_and_journal_and_takes_a_pack(
    office: Office, signed_in: SignIn
) -> None:
    page = signed_in("ada.auditor")

    page.get_by_role("link", name="Lineage", exact=True).first.click()
    page.get_by_label(re.compile("Event identifier")).fill("INV-000040:1")
    page.keyboard.press("Enter")
    expect(page.locator("svg[aria-label^=Lineage]")).to_be_visible()
    seen(page, "lineage")
    rows = page.locator("table").first
    expect(rows).to_contain_text("meter event")
    expect(rows).to_contain_text("journal entry")
    rows.get_by_role("link", name=re.compile("^JE-")).first.click()
    seen(page, "journal-entry")

    go(page, "Revenue · finance", "Audit packs")
    page.get_by_role("link", name="New audit pack").first.click()
    seen(page, "audit-pack")
    page.locator("[name=invoices]").fill("INV-000040")
    confirm(page, "New audit pack", reason="Sample of November")
    download = page.get_by_role("link", name="Download", exact=True)
    for _ in range(60):
        if page.get_by_text("done", exact=True).count():
            break
        page.wait_for_timeout(2_000)
        page.reload()
    with page.expect_download() as taken:
        download.first.click()
    office.verify_pack(Path(taken.value.path()))


def test_a_controller_closes_the_month(office: Office, signed_in: SignIn) -> None:
    maker, approver = signed_in("mia.maker"), signed_in("ann.approver")
    for page in (maker, approver):
        go(page, "Revenue · finance", "Accounting periods")
        page.get_by_role("link", name=office.open_month, exact=True).first.click()
        page.wait_for_url("**/change/**")
    seen(maker, "close")
    for page in (maker, approver):
        _sign_all(page)
    act(maker, "Propose close")
    confirm(maker, "Propose close", reason="All of the month is in")

    approver.get_by_role("link", name="Approvals", exact=True).first.click()
    approver.get_by_role("row", name=f"Close of {office.open_month}").get_by_role(
        "link", name="Decide"
    ).click()
    act(approver, "Close period")
    confirm(approver, "Close period", reason="Read and agreed")

    expect(approver.locator("body")).to_contain_text("closed")
    seen(approver, "closed")
    go(approver, "Revenue · finance", "Reports")
    seen(approver, "reports")


def _sign_all(page: Any) -> None:
    """Sign for every finding that this person may sign for."""
    url = page.url
    for _ in range(5):
        page.get_by_role("link", name="Sign exception", exact=True).first.click()
        page.wait_for_load_state()
        options = page.locator("select[name=item] option").evaluate_all(
            "all => all.map(one => one.value).filter(Boolean)"
        )
        before = len(options)
        signed = False
        for value in options:
            page.locator("select[name=item]").select_option(value)
            confirm(page, "Sign exception", reason="Known, and not of this month")
            if "Signed for" in page.content():
                signed = True
                break
        page.goto(url)
        if not before or not signed:
            return
