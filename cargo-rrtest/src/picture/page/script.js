// Marks where an object is touched, moves among the steps by keys, copies commands. The page says the same without.
(() => {
  "use strict";
  const all = (selector) => Array.from(document.querySelectorAll(selector));

  const steps = all(".step");
  for (const button of all("button[data-object]")) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      all("button[data-object]").forEach((other) => other.setAttribute("aria-pressed", String(on && other === button)));
      const touches = (step) => on && step.dataset.objects.split(" ").includes(button.dataset.object);
      steps.forEach((step) => step.classList.toggle("touched", touches(step)));
      const first = steps.find((step) => step.classList.contains("touched") && step.offsetParent);
      if (first) first.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
  }

  document.addEventListener("keydown", (event) => {
    const step = event.target.closest && event.target.closest(".step");
    const ahead = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (!step || !ahead || event.ctrlKey || event.metaKey || event.altKey) return;
    const shown = steps.filter((other) => other.offsetParent);
    const next = shown[shown.indexOf(step) + ahead];
    if (!next) return;
    event.preventDefault();
    next.querySelector("summary").focus();
    next.scrollIntoView({ block: "nearest", inline: "nearest" });
  });

  for (const command of all("pre.command")) {
    if (!navigator.clipboard) break;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(command.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Select and copy it by hand";
      }
    });
    command.after(button);
  }

  const theme = document.createElement("button");
  theme.type = "button";
  theme.className = "theme";
  const root = document.documentElement;
  const isDark = () => {
    const chosen = root.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const label = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    label();
  });
  label();
  document.querySelector("header").prepend(theme);
})();
