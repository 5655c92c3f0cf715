/** What the server does just now; asked for only while the panel is open. */
import { readMetrics, readSlots } from "./api.js";
import { element, iconButton, svg } from "./dom.js";

const INTERVAL_MS = 2000;
const SAMPLES = 60;

export class MetricsPanel {
  constructor() {
    this.panel = document.getElementById("metrics");
    this.opener = document.getElementById("toggle-metrics");
    this.opener.addEventListener("click", () => this.toggle());
    this.trouble = element("p", { class: "note wrong", role: "status" });
    this.generated = new Rate("Generation");
    this.read = new Rate("Prompts");
    this.figures = element("dl");
    this.slots = element("ul", { class: "slots" });
    this.panel.append(
      element("div", { class: "panel-head" }, element("h2", {}, "Metrics"),
        iconButton("close", "Close metrics", () => this.toggle())),
      this.trouble, this.generated.node, this.read.node, this.figures,
      element("h3", {}, "Slots"), this.slots);
  }

  get isOpen() {
    return !this.panel.hidden;
  }

  toggle() {
    this.panel.hidden = this.isOpen;
    this.opener.setAttribute("aria-expanded", String(this.isOpen));
    clearTimeout(this.timer);
    if (this.isOpen) this.poll();
    else this.opener.focus();
  }

  async poll() {
    const [metrics, slots] = await Promise.allSettled([readMetrics(), readSlots()]);
    if (metrics.value) this.showMetrics(metrics.value);
    if (slots.value) this.showSlots(slots.value);
    this.trouble.textContent = [metrics, slots].map(({ reason }) => reason?.message)
      .filter(Boolean).join(" ");
    clearTimeout(this.timer);
    if (this.isOpen) this.timer = setTimeout(() => this.poll(), INTERVAL_MS);
  }

  showMetrics(metrics) {
    const value = (name, digits = 0) => (metrics.get(name) ?? 0).toLocaleString("en",
      { maximumFractionDigits: digits });
    this.generated.add(metrics.get("tokens_predicted_total"));
    this.read.add(metrics.get("prompt_tokens_total"));
    const figures = {
      "Generated": `${value("tokens_predicted_total")} tokens`,
      "Average": `${value("predicted_tokens_seconds", 1)} tokens/s`,
      "Prompts": `${value("prompt_tokens_total")} tokens`,
      "Prompt average": `${value("prompt_tokens_seconds", 1)} tokens/s`,
      "In progress": value("requests_processing"),
      "Waiting": value("requests_deferred"),
    };
    this.figures.replaceChildren(...Object.entries(figures).map(([name, text]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, text))));
  }

  showSlots(slots) {
    const isOfSeveral = new Set(slots.map(({ model }) => model)).size > 1;
    this.slots.replaceChildren(...slots.map((slot) => {
      const bar = element("span", { class: "bar" });
      bar.style.setProperty("--share", slot.n_ctx ? (slot.n_tokens ?? 0) / slot.n_ctx : 0);
      return element("li", { class: slot.is_processing ? "running" : null },
        element("div", { class: "row" }, element("span", {},
          `Slot ${slot.id}${isOfSeveral ? ` of ${slot.model}` : ""}`),
          element("span", { class: "note" },
            slot.is_processing ? `busy, ${slot.n_decoded ?? 0} generated` : "idle")),
        bar, element("span", { class: "note" },
          `${slot.n_tokens ?? 0} of ${slot.n_ctx ?? "?"} tokens`));
    }));
  }
}

/** The growth of a counter per second, as a number and as a line. */
class Rate {
  constructor(label) {
    this.samples = [];
    this.line = svg("polyline", { points: "" });
    this.value = element("strong", {}, "0");
    this.node = element("figure", {},
      element("figcaption", {}, element("span", {}, label),
        element("span", { class: "note" }, this.value, " tokens/s")),
      svg("svg", { viewBox: `0 0 ${SAMPLES - 1} 24`, preserveAspectRatio: "none",
        "aria-hidden": "true", class: "spark" }, this.line));
  }

  add(total = 0) {
    const now = performance.now();
    const rate = this.last ? ((total - this.last.total) * 1000) / (now - this.last.now) : 0;
    this.last = { total, now };
    // A server that was started again counts from zero.
    this.samples = [...this.samples, Math.max(0, rate)].slice(-SAMPLES);
    this.value.textContent = this.samples.at(-1).toFixed(1);
    const most = Math.max(1, ...this.samples);
    const start = SAMPLES - this.samples.length;
    this.line.setAttribute("points", this.samples.map((sample, index) =>
      `${start + index},${(23 - (sample / most) * 22).toFixed(2)}`).join(" "));
  }
}
