"""Five stories, each from the home page by clicks, as somebody does who has never been here."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.office import Office

pytestmark = pytest.mark.browser
SignIn = Callable[[str], Any]
_WEAR = "isDark => document.documentElement.classList.toggle('dark', isDark)"
SCREENS = Path(__file__).parents[2] / "docs" / "screens"


def _seen(page: Any, name: str = "") -> None:
    """Look at a page, light and dark: nothing keeps anybody from using it; keep its picture."""
    page.wait_for_load_state("networkidle")
    for scheme in ("light", "dark"):
        page.evaluate(_WEAR, scheme == "dark")
        found = Axe().run(page).response["violations"]
        wrong = [one for one in found if one["impact"] in {"serious", "critical"}]
        assert [(one["id"], one["nodes"][0]["html"]) for one in wrong] == []
        if name:
            shot = SCREENS / f"{name}-{scheme}.jpeg"
            page.screenshot(path=str(shot), type="jpeg", quality=55)
    page.evaluate(_WEAR, False)


def _go(page: Any, group: str, title: str) -> None:
    """Open a list by the sidebar."""
    link = page.get_by_role("link", name=title, exact=True).first
    if not link.is_visible():
        page.get_by_text(group).first.click()
    link.click()
    expect(page.locator("h1")).to_contain_text(title)


def _open(page: Any, words: str) -> None:
    """Search a list and open the row of that name."""
    page.locator("input[name=q]").fill(words)
    page.keyboard.press("Enter")
    page.wait_for_url("**q=**")
    page.locator("#result_list").get_by_role("link", name=words).first.click()
    page.wait_for_url("**/change/**")


def _act(page: Any, title: str) -> None:
    """Press a button of an object's page, in the menu if it does not stand beside the title."""
    page.wait_for_url("**/change/**")
    button = page.get_by_role("link", name=title, exact=True).first
    if not button.is_visible():
        page.get_by_role("button", name="More").click()
    button.click()
    expect(page.locator(".bo-title")).to_have_text(title)


def _confirm(page: Any, title: str, **typed: str) -> None:
    for name, text in typed.items():
        page.locator(f"[name={name}]").fill(text)
    page.get_by_role("button", name=title, exact=True).click()
    page.wait_for_load_state()


def test_support_credits_a_wrong_line_and_the_credits_come_back(
    office: Office, signed_in: SignIn
) -> None:
    page = signed_in("sam.support")
    _seen(page, "home")

    _go(page, "Invoicing · finance and support", "Invoices")
    _seen(page, "invoices")
    _open(page, "INV-000040")
    _seen(page, "invoice")
    _act(page, "Issue credit note")
    inputs = page.locator(".bo-credit input")
    inputs.nth(0).fill("9.05")
    inputs.nth(1).fill("1000")
    page.locator("select[name=reason]").select_option("billing_error")
    expect(page.locator(".bo-credit [role=status]")).to_contain_text("9.05 USD")
    _seen(page, "credit-note")
    _confirm(page, "Issue credit note", memo="The agent ran against the wrong model")

    expect(page.get_by_text("CN-").first).to_be_visible()
    expect(page.locator("main, #content, body").first).to_contain_text("100.00 USD")  # Open now.
    page.get_by_role("link", name="Customer 01", exact=True).first.click()
    _seen(page, "customer")
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
    _seen(page, "approvals")
    page.get_by_role("row", name="Standard rates, version 2").get_by_role(
        "link", name="Decide"
    ).click()
    _seen(page, "policy-change")
    _act(page, "Approve")
    _confirm(page, "Approve", reason="The margin stays above the floor")

    expect(page.locator("body")).to_contain_text("ann.approver")
    page.get_by_role("link", name="Approvals", exact=True).first.click()
    expect(page.locator("body")).not_to_contain_text("Standard rates, version 2")


def test_engineering_maps_an_unknown_customer_and_replays(
    office: Office, signed_in: SignIn
) -> None:
    office.send("renamed-corp")
    page = signed_in("eli.engineer")

    page.get_by_role("link", name="Exceptions", exact=True).first.click()
    _seen(page, "exceptions")
    page.get_by_role("link", name=re.compile("renamed-corp")).click()
    _act(page, "Map to customer")
    _seen(page, "map-customer")
    page.locator("[name=customer]").fill("cust-01")
    _confirm(page, "Map to customer", reason="They were renamed in the CRM")

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
    _seen(page, "lineage")
    rows = page.locator("table").first
    expect(rows).to_contain_text("meter event")
    expect(rows).to_contain_text("journal entry")
    rows.get_by_role("link", name=re.compile("^JE-")).first.click()
    _seen(page, "journal-entry")

    _go(page, "Revenue · finance", "Audit packs")
    page.get_by_role("link", name="New audit pack").first.click()
    _seen(page, "audit-pack")
    page.locator("[name=invoices]").fill("INV-000040")
    _confirm(page, "New audit pack", reason="Sample of November")
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
        _go(page, "Revenue · finance", "Accounting periods")
        page.get_by_role("link", name=office.open_month, exact=True).first.click()
        page.wait_for_url("**/change/**")
    _seen(maker, "close")
    for page in (maker, approver):
        _sign_all(page)
    _act(maker, "Propose close")
    _confirm(maker, "Propose close", reason="All of the month is in")

    approver.get_by_role("link", name="Approvals", exact=True).first.click()
    approver.get_by_role("row", name=f"Close of {office.open_month}").get_by_role(
        "link", name="Decide"
    ).click()
    _act(approver, "Close period")
    _confirm(approver, "Close period", reason="Read and agreed")

    expect(approver.locator("body")).to_contain_text("closed")
    _seen(approver, "closed")
    _go(approver, "Revenue · finance", "Reports")
    _seen(approver, "reports")


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
            _confirm(page, "Sign exception", reason="Known, and not of this month")
            if "Signed for" in page.content():
                signed = True
                break
        page.goto(url)
        if not before or not signed:
            return
