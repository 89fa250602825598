/* The keyboard reaches what the mouse does: a table that is wider than its place can be scrolled by
   the arrow keys, and a page's content is one step from its top. */

const SCROLLS = ".bo-box, .bo-scroll, .bo-graph, .bo-pre";

function openScrolling() {
  for (const box of document.querySelectorAll(SCROLLS)) {
    const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
    if (scrolls) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

document.addEventListener("DOMContentLoaded", () => {
  const main = document.getElementById("main");
  if (main && !document.querySelector("main, [role=main]")) main.setAttribute("role", "main");
  openScrolling();
  window.addEventListener("resize", openScrolling);
});
