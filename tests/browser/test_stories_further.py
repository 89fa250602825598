"""Further stories, short: what happens between the five of every day."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.clicking import SignIn, act, choose, confirm, go, seen
from tests.browser.office import Office

pytestmark = pytest.mark.browser


def test_product_compares_scenarios_and_attaches_them_to_a_draft(
    office: Office, signed_in: SignIn
) -> None:
    page = signed_in("pat.product")
    go(page, "Credits · product", "Scenarios")
    seen(page, "scenarios")

    choose(page, "plan", "scale, draft")
    page.locator("input[name=megatokens]").fill("120")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("table").first).to_contain_text("own")
    attach = page.get_by_role("button", name=re.compile("Attach to"))
    attach.first.click()

    expect(page.locator("body")).to_contain_text("Attached to")


def test_support_keeps_the_evidence_of_an_incident(office: Office, signed_in: SignIn) -> None:
    page = signed_in("sam.support")
    go(page, "Credits · product", "Incidents")
    page.get_by_role("link", name="Open incident").first.click()
    choose(page, "owner", "sam.support")
    day = f"{office.clock:%Y-%m-%d}"
    confirm(
        page, "Open incident", title="A key was pasted into a public repository",
        customer="cust-06", start_at_0=f"{office.open_month}-20", start_at_1="00:00:00",
        end_at_0=day, end_at_1="00:00:00", reason="Told by the customer",
    )  # fmt: skip
    act(page, "Write down what was done")
    confirm(page, "Write down what was done", reason="Revoked the key")
    seen(page, "incident")
    act(page, "Make evidence pack")
    confirm(page, "Make evidence pack", reason="For the customer's auditor")

    page.get_by_role("link", name="Incident evidence").first.click()
    page.locator("#result_list tbody").get_by_role(
        "link", name=re.compile("^evidence")
    ).first.click()
    page.wait_for_url("**/change/**")
    seen(page, "evidence-pack")
    with page.expect_download() as taken:
        page.get_by_role("link", name="ZIP", exact=True).click()
    assert Path(taken.value.path()).read_bytes()[:2] == b"PK"


def test_somebody_else_signs_the_week_of_the_controls(office: Office, signed_in: SignIn) -> None:
    page = signed_in("ann.approver")
    go(page, "Credits · product", "Control checkpoints")
    page.locator("#result_list tbody").get_by_role("link").first.click()
    page.wait_for_url("**/change/**")
    seen(page, "checkpoint")
    act(page, "Sign")
    confirm(page, "Sign", reason="Read: what was refused was meant to be")

    expect(page.locator("body")).to_contain_text("Signed.")
    expect(page.get_by_role("link", name="ann.approver").first).to_be_visible()


def test_finance_approves_opening_balances_that_another_person_brought(
    office: Office, signed_in: SignIn
) -> None:
    office.propose_openings("mia.maker")
    page = signed_in("ann.approver")
    page.get_by_role("link", name="Approvals", exact=True).first.click()
    page.get_by_role("row", name=re.compile("opening balances", re.I)).get_by_role(
        "link", name="Decide"
    ).first.click()
    act(page, "Approve")
    confirm(page, "Approve", reason="Sums agree with the old system's report")
    office.apply_openings()

    go(page, "Invoicing · finance and support", "Opening balances")
    page.locator("tbody").get_by_role("link").first.click()
    expect(page.locator("body")).to_contain_text("moved-in")
    seen(page, "openings")
