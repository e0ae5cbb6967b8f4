// Keeps a page fresh, and finds photometers while you type. Without it all links and forms work all the same.
"use strict";

const LATEST = { wanted: 0 };

async function show(address, push) {
  const mine = ++LATEST.wanted;
  const notice = document.getElementById("notice");
  try {
    const answer = await fetch(address, { cache: "no-store" });
    if (!answer.ok && answer.status !== 404) throw new Error(String(answer.status));
    const text = await answer.text();
    if (mine !== LATEST.wanted) return;
    replace(new DOMParser().parseFromString(text, "text/html"));
    if (push) history.replaceState(null, "", address);
    notice.textContent = "";
  } catch {
    if (mine !== LATEST.wanted) return;
    const at = document.querySelector(".at").textContent;
    notice.textContent = `tessflux does not answer. This is what it said at ${at}.`;
  }
}

// The new content takes the place of the old one; what is open, written or in focus stays so.
function replace(fresh) {
  const before = document.activeElement;
  const open = [...document.querySelectorAll("details[open]")].map((each) => each.id);
  const next = fresh.querySelector("main");
  if (!next) return;
  for (const id of open) next.querySelector(`details#${id}`)?.setAttribute("open", "");
  const scrolled = [...document.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  const address = before.getAttribute("href");
  const field = before.id === "q" ? { value: before.value, at: before.selectionStart } : null;
  document.querySelector("main").replaceWith(next);
  document.querySelector(".at").textContent = fresh.querySelector(".at").textContent;
  document.title = fresh.title;
  next.querySelectorAll(".scroll").forEach((each, place) => (each.scrollLeft = scrolled[place] ?? 0));
  const again =
    (before.id && document.getElementById(before.id)) ||
    (address && [...next.querySelectorAll("a")].find((each) => each.getAttribute("href") === address));
  if (!again) return;
  again.focus({ preventScroll: true });
  if (field) {
    again.value = field.value;
    again.setSelectionRange(field.at, field.at);
  }
}

function query(form) {
  const pairs = [...new FormData(form)].filter(([, value]) => value);
  const words = new URLSearchParams(pairs).toString();
  return words ? `/?${words}` : "/";
}

let typing;
document.addEventListener("input", (event) => {
  if (event.target.id !== "q") return;
  clearTimeout(typing);
  typing = setTimeout(() => show(query(event.target.form), true), 200);
});

document.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  show(query(event.target), true);
});

// Another order or another state keeps the place on the page.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("th a, .tools a, .pages a");
  if (!link || link.origin !== location.origin || link.pathname !== "/") return;
  if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  show(link.getAttribute("href"), true);
});

(function again() {
  const seconds = Number(document.querySelector("main").dataset.refresh) || 60;
  setTimeout(async () => {
    if (!document.hidden) await show(location.pathname + location.search, false);
    again();
  }, seconds * 1000);
})();

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) show(location.pathname + location.search, false);
});
