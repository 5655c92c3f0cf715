/* Runs before the first paint, so that the chosen theme does not flash in late. */
(() => {
  const KEY = "llamacpp.theme";
  const root = document.documentElement;
  const chosen = localStorage.getItem(KEY);
  if (chosen) root.dataset.theme = chosen;
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("toggle-theme").addEventListener("click", () => {
      const dark = root.dataset.theme
        ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      localStorage.setItem(KEY, root.dataset.theme);
    });
  });
})();
