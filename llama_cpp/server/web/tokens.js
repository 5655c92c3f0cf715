/** The tokens of a reply, coloured by their probability, with what else could have stood there. */
import { element } from "./dom.js";

const LEVELS = [0.9, 0.6, 0.3, 0.1];
const popover = () => document.getElementById("alternatives");
const percent = (logprob) => {
  const share = Math.exp(logprob) * 100;
  return share > 0 && share < 0.1 ? "< 0.1 %" : `${share.toFixed(1)} %`;
};
const quoted = (text) => JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"')
  .replace(/^ | $/g, "␣");

export class TokenView {
  constructor() {
    this.tokens = [];
    this.list = element("div", { class: "tokens", role: "group",
      "aria-label": "Tokens; the arrow keys go from one to the next" });
    this.node = element("div", {}, legend(), this.list);
    this.list.addEventListener("pointerover", ({ target }) => this.show(target));
    this.list.addEventListener("pointerleave", () => this.show(document.activeElement));
    this.list.addEventListener("focusin", ({ target }) => this.show(target));
    this.list.addEventListener("focusout", hideAlternatives);
    this.list.addEventListener("keydown", (event) => this.move(event));
  }

  update(tokens) {
    this.tokens = tokens;
    for (const [text, logprob] of tokens.slice(this.list.childElementCount)) {
      const level = LEVELS.findIndex((least) => Math.exp(logprob) >= least);
      this.list.append(element("span", {
        class: `token level-${level < 0 ? LEVELS.length : level}`, role: "button",
        tabindex: this.list.childElementCount ? -1 : 0,
        "aria-label": `${quoted(text)}, ${percent(logprob)}`,
      }, text.replaceAll("\n", "⏎\n") || "∅"));
    }
  }

  move(event) {
    const token = event.target;
    const next = {
      ArrowRight: token.nextElementSibling, ArrowLeft: token.previousElementSibling,
      Home: this.list.firstElementChild, End: this.list.lastElementChild,
    }[event.key];
    if (!next) return;
    event.preventDefault();
    token.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  show(target) {
    hideAlternatives();
    const token = target?.closest(".token");
    if (!token || token.parentElement !== this.list) return;
    const [text, logprob, top] = this.tokens[[...this.list.children].indexOf(token)];
    const others = top.some(([other]) => other === text) ? top : [...top, [text, logprob]];
    const rows = others.map(([other, share]) => row(other, share, other === text));
    popover().replaceChildren(element("table", {}, element("caption", {}, "Alternatives"),
      element("tbody", {}, ...rows)));
    popover().hidden = false;
    token.setAttribute("aria-describedby", "alternatives");
    place(token);
  }
}

const described = () => document.querySelector("[aria-describedby=alternatives]");

export function hideAlternatives() {
  popover().hidden = true;
  described()?.removeAttribute("aria-describedby");
}

/** Keeps to the token when that is scrolled, as going on by keys does. */
export function moveAlternatives() {
  if (described()) place(described());
}

function row(text, logprob, isChosen) {
  const bar = element("span", { class: "bar" });
  bar.style.setProperty("--share", Math.exp(logprob));
  return element("tr", { class: isChosen ? "chosen" : null },
    element("td", { class: "mono" }, quoted(text) || "∅"), element("td", {}, bar),
    element("td", { class: "number" }, percent(logprob)));
}

/** Above the token where there is room, below it otherwise, and always within the window. */
function place(token) {
  const [box, own] = [token.getClientRects()[0], popover().getBoundingClientRect()];
  const left = Math.min(box.left, document.documentElement.clientWidth - own.width - 8);
  const above = box.top - own.height - 6;
  popover().style.left = `${Math.max(8, left)}px`;
  popover().style.top = `${above > 8 ? above : box.bottom + 6}px`;
}

function legend() {
  const steps = ["≥ 90 %", "≥ 60 %", "≥ 30 %", "≥ 10 %", "less"];
  return element("p", { class: "legend", "aria-hidden": "true" },
    element("span", {}, "Probability"),
    ...steps.map((step, level) => element("span", { class: `token level-${level}` }, step)));
}
