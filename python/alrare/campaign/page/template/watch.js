// Shows the end of the log, and loads the page again when an iteration has finished.
"use strict";

(() => {
  const log = document.getElementById("watch");
  async function look() {
    try {
      const answer = await fetch("state", { cache: "no-store" });
      const now = await answer.json();
      log.textContent = now.log.join("\n");
      if (now.state !== log.dataset.state) location.reload();
    } catch {
      log.textContent = "alrare watch has ended; the page stays as it is.";
    }
  }
  look();
  setInterval(look, 3000);
})();
