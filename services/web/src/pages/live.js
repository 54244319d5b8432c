"use strict";
// Replaces the parts of a page that have changed. Without this script the page shows them as of when it was loaded.

const say = (id, text) => {
  const place = document.getElementById(id);
  if (place && place.textContent !== text) place.textContent = text;
};

// Replaces the content of a part; the focus and the scroll position stay.
const replace = (id, html) => {
  const part = document.getElementById(id);
  if (!part) return;
  const active = document.activeElement;
  const href = part.contains(active) ? active.getAttribute("href") : null;
  const left = part.querySelector(".wide")?.scrollLeft ?? 0;
  part.innerHTML = html;
  const wide = part.querySelector(".wide");
  if (wide) wide.scrollLeft = left;
  if (href) [...part.querySelectorAll("a")].find((link) => link.getAttribute("href") === href)?.focus();
};

const follow = (path, parts) => {
  const source = new EventSource(path);
  for (const part of parts) {
    source.addEventListener(part, (event) => {
      replace(part, event.data);
      say("live", "Live.");
      say("changed", "Last change: " + new Date().toLocaleTimeString() + ".");
    });
  }
  source.addEventListener("trouble", (event) => say("live", "Not live: " + event.data));
  source.addEventListener("ended", () => {
    source.close();
    say("live", "Not live: the session has ended. Load the page again.");
  });
  source.addEventListener("done", () => {
    source.close();
    say("live", "Finished.");
  });
  source.addEventListener("error", () => say("live", "Not live: octetctl does not answer."));
};

if (document.getElementById("figures")) follow("/events", ["drawing", "figures"]);
if (document.querySelector("#install[data-live]")) follow("/update/events", ["install"]);
