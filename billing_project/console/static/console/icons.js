/* Icons are words in a font of pictures: what reads a page aloud is not to read them. What consists
   of an icon alone has a name instead. */

const NAMES = { "#searchbar-submit": "Search", "a.bg-primary-600[href='/admin/']": "Home" };

function nameIcons() {
  for (const icon of document.querySelectorAll(".material-symbols-outlined:not([aria-hidden])")) {
    icon.setAttribute("aria-hidden", "true");
  }
  for (const [selector, name] of Object.entries(NAMES)) {
    for (const found of document.querySelectorAll(selector)) {
      if (!found.hasAttribute("aria-label")) found.setAttribute("aria-label", name);
    }
  }
}

document.addEventListener("DOMContentLoaded", () => {
  nameIcons();
  new MutationObserver(nameIcons).observe(document.body, { childList: true, subtree: true });
});
