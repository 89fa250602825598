"""What people do in a browser, in words of the stories: look, go, open, act, confirm."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

SignIn = Callable[[str], Any]
_WEAR = "isDark => document.documentElement.classList.toggle('dark', isDark)"
SCREENS = Path(__file__).parents[2] / "docs" / "screens"


def seen(page: Any, name: str = "") -> None:
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


def go(page: Any, group: str, title: str) -> None:
    """Open a list by the sidebar."""
    link = page.get_by_role("link", name=title, exact=True).first
    if not link.is_visible():
        page.get_by_text(group).first.click()
    link.click()
    expect(page.locator("h1")).to_contain_text(title)


def open_row(page: Any, words: str) -> None:
    """Search a list and open the row of that name."""
    page.locator("input[name=q]").fill(words)
    page.keyboard.press("Enter")
    page.wait_for_url("**q=**")
    page.locator("#result_list").get_by_role("link", name=words).first.click()
    page.wait_for_url("**/change/**")


def act(page: Any, title: str) -> None:
    """Press a button of an object's page, in the menu if it does not stand beside the title."""
    page.wait_for_url("**/change/**")
    button = page.get_by_role("link", name=title, exact=True).first
    if not button.is_visible():
        page.get_by_role("button", name="More").click()
    button.click()
    expect(page.locator(".bo-title")).to_have_text(title)


def choose(page: Any, name: str, words: str) -> None:
    """Choose the first of a list's options whose text has some words."""
    field = page.locator(f"select[name={name}]")
    field.select_option(value=field.locator("option", has_text=words).first.get_attribute("value"))


def confirm(page: Any, title: str, /, **typed: str) -> None:
    """Fill in a form and send it."""
    for name, text in typed.items():
        page.locator(f"[name={name}]").fill(text)
    page.get_by_role("button", name=title, exact=True).click()
    page.wait_for_load_state()
