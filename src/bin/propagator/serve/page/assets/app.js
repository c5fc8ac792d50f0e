// Keeps the matrix up to date. Everything works without it: the pages are made by the server, and
// this puts newer parts of the same pages in their place.
"use strict";
(() => {
  const matrix = () => document.getElementById("matrix");
  if (!matrix() || !window.EventSource) return;
  const live = document.getElementById("live");
  const said = document.getElementById("said");
  const AT_MOST_EVERY = 300;
  const AT_LEAST_EVERY = 15000;
  let asking = false;
  let wanted = false;
  let last = 0;

  const say = (on, text) => {
    live.hidden = false;
    live.classList.toggle("on", on);
    if (live.textContent !== text) live.textContent = text;
  };

  // Rows are replaced one by one, so that the focus and what is being read stay where they are.
  const replace = (older, newer) => {
    const rows = (part) => Array.from(part.querySelectorAll("tbody > tr"));
    const keys = (part) => rows(part).map((row) => row.dataset.key).join("\n");
    const head = (part) => part.querySelector("thead")?.textContent;
    if (keys(older) !== keys(newer) || head(older) !== head(newer) || !rows(newer).length) {
      if (older.contains(document.activeElement)) {
        const link = document.activeElement.getAttribute("href");
        older.replaceWith(newer);
        if (link) newer.querySelector(`[href="${CSS.escape(link)}"]`)?.focus();
      } else {
        older.replaceWith(newer);
      }
      return;
    }
    const facts = [older.querySelector(".facts"), newer.querySelector(".facts")];
    if (facts[0].outerHTML !== facts[1].outerHTML) facts[0].replaceWith(facts[1]);
    const alarms = [older.querySelector(".alarm"), newer.querySelector(".alarm")];
    if (alarms[0] && !alarms[1]) alarms[0].remove();
    if (!alarms[0] && alarms[1]) older.querySelector(".facts").after(alarms[1]);
    const fresh = rows(newer);
    rows(older).forEach((row, index) => {
      const next = fresh[index];
      // Copies: a cell that is put in its place leaves its own row.
      const [cells, nextCells] = [Array.from(row.children), Array.from(next.children)];
      for (const [at, was] of cells.entries()) {
        const is = nextCells[at];
        if (was.outerHTML === is.outerHTML) continue;
        const moved = was.querySelector(".state")?.textContent !== is.querySelector(".state")?.textContent;
        if (was.contains(document.activeElement)) {
          const subs = Array.from(is.querySelectorAll(".sub"));
          was.querySelectorAll(".sub").forEach((sub) => sub.remove());
          was.append(...subs);
        } else {
          was.replaceWith(is);
        }
        if (moved) {
          row.classList.add("changed");
          row.addEventListener("animationend", () => row.classList.remove("changed"), { once: true });
        }
      }
      row.className = next.className + (row.classList.contains("changed") ? " changed" : "");
    });
  };

  const refresh = async () => {
    if (asking) {
      wanted = true;
      return;
    }
    asking = true;
    wanted = false;
    last = Date.now();
    try {
      const answer = await fetch(matrix().dataset.source, { headers: { accept: "text/plain" } });
      if (answer.status === 401) {
        say(false, "Signed out: reload the page to sign in.");
        events.close();
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
      const newer = parsed.getElementById("matrix");
      if (newer) replace(matrix(), document.adoptNode(newer));
      if (events.readyState === EventSource.OPEN) say(true, "Live");
    } catch {
      say(false, "Not up to date: the peer does not answer.");
    } finally {
      asking = false;
      if (wanted) later();
    }
  };

  let timer = null;
  const later = () => {
    if (timer !== null) return;
    const wait = Math.max(0, AT_MOST_EVERY - (Date.now() - last));
    timer = setTimeout(() => {
      timer = null;
      refresh();
    }, wait);
  };

  const WORDS = {
    key_verified: (e) => `${e.target} holds ${e.clientId}`,
    key_activated: (e) => `${e.clientId} is everywhere`,
    rotation_failed: (e) => `${e.clientId} failed${e.target ? " at " + e.target : ""}`,
  };
  const events = new EventSource("/events");
  const names = ["key_generated", "key_propagated", "key_verified", "key_activated",
    "rotation_failed", "row_changed", "directory_changed", "gap"];
  for (const name of names) {
    events.addEventListener(name, (event) => {
      const words = WORDS[name];
      // One sentence for those who listen: the latest that matters.
      if (words) said.textContent = words(JSON.parse(event.data));
      later();
    });
  }
  events.onopen = () => {
    say(true, "Live");
    later();
  };
  events.onerror = () => say(false, "Not live: trying again.");
  window.addEventListener("pagehide", () => events.close());
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
  // Ages grow without any event, and what another process does may come without one.
  setInterval(() => {
    if (!document.hidden && Date.now() - last >= AT_LEAST_EVERY) later();
  }, 1000);
})();
