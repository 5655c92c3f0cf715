/** How one message looks, while it is written and after. */
import { button, copyButton, element } from "./dom.js";
import { MarkdownView } from "./markdown.js";
import { describe, isEmpty } from "./reply.js";
import { TokenView } from "./tokens.js";

/** What the person wrote. `acts` has `edit(text)` and `remove()`. */
export class UserView {
  constructor(message, acts) {
    this.message = message;
    this.acts = acts;
    this.node = element("article", { class: "message user", "aria-label": "You" });
    this.showText();
  }

  showText() {
    this.node.replaceChildren(
      element("div", { class: "bubble" }, this.message.content),
      element("div", { class: "acts" }, button("Edit", () => this.showForm()),
        copyButton(() => this.message.content), button("Delete", this.acts.remove)));
  }

  showForm() {
    const field = element("textarea", { "aria-label": "Edit message", rows: 3,
      value: this.message.content });
    const send = () => field.value.trim() && this.acts.edit(field.value);
    const cancel = () => {
      this.showText();
      this.node.querySelector("button").focus();
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        cancel();
      } else if (isSend(event)) {
        event.preventDefault();
        send();
      }
    });
    this.node.replaceChildren(element("div", { class: "edit" }, field,
      element("div", { class: "row" }, button("Cancel", cancel),
        button("Send", send, { class: "primary" }))));
    field.focus();
  }

  update() {}
}

/** Enter, except where it ends a composition or starts a line. */
export const isSend = (event) => event.key === "Enter" && !event.shiftKey && !event.isComposing;

/** A reply. `acts` has `regenerate()`, `remove()` and `resume(results)`. */
export class ReplyView {
  constructor(message, acts) {
    this.message = message;
    this.waiting = element("p", { class: "waiting" }, "Waiting for the first token");
    this.thoughts = element("div", { class: "thoughts" });
    this.thinking = element("summary");
    this.reasoning = element("details", { class: "reasoning" }, this.thinking, this.thoughts);
    this.text = element("div", { class: "text" });
    this.markdown = new MarkdownView(this.text);
    this.tokens = null;
    this.calls = new CallsView(message.calls, acts.resume);
    this.stats = element("span", { class: "stats" });
    this.toggle = button("Tokens", () => this.toggleTokens(), { "aria-pressed": "false" });
    this.acts = element("div", { class: "acts" }, copyButton(() => message.content), this.toggle,
      button("Regenerate", acts.regenerate), button("Delete", acts.remove));
    this.body = element("div", { "aria-live": "polite" }, this.reasoning, this.text,
      this.calls.node);
    this.node = element("article", { class: "message reply", "aria-label": "Reply" },
      this.waiting, this.body, element("div", { class: "foot" }, this.acts, this.stats));
  }

  update({ isRunning, isLast }) {
    const { message } = this;
    // Readers announce a reply when it is whole, not piece by piece.
    this.body.setAttribute("aria-busy", String(isRunning));
    this.waiting.hidden = !isRunning || !isEmpty(message);
    this.reasoning.hidden = !message.reasoning;
    const isThinking = isRunning && !message.content && !message.calls.length;
    this.reasoning.classList.toggle("busy", isThinking);
    this.thinking.textContent = isThinking ? "Thinking" : "Thoughts";
    this.thoughts.textContent = message.reasoning;
    this.text.classList.toggle("busy", isRunning && Boolean(message.content));
    this.markdown.show(message.content);
    this.tokens?.update(message.tokens);
    this.calls.update({ isRunning, isLast });
    this.stats.textContent = describe(message);
    this.acts.hidden = isRunning;
    this.toggle.hidden = message.tokens.length === 0;
  }

  toggleTokens() {
    const isOn = this.toggle.getAttribute("aria-pressed") !== "true";
    this.toggle.setAttribute("aria-pressed", String(isOn));
    if (!this.tokens) {
      this.tokens = new TokenView();
      this.tokens.update(this.message.tokens);
      this.body.before(this.tokens.node);
    }
    this.tokens.node.hidden = !isOn;
    this.body.hidden = isOn;
  }
}

/** Calls of tools, and where their results are typed. */
class CallsView {
  constructor(calls, resume) {
    this.calls = calls;
    this.cards = [];
    this.resume = element("form", { class: "row", hidden: true },
      element("button", { type: "submit", class: "primary" }, "Send result"));
    this.list = element("div", { class: "calls" });
    this.node = element("div", {}, this.list, this.resume);
    this.resume.addEventListener("submit", (event) => {
      event.preventDefault();
      resume(this.cards.map(({ field }) => field.value));
    });
  }

  update({ isRunning, isLast }) {
    this.calls.forEach((call, index) => {
      this.cards[index] ??= this.card(index);
      const { name, given, field, result } = this.cards[index];
      name.textContent = call.name;
      given.textContent = indented(call.arguments);
      field.hidden = isRunning || !isLast || call.result !== null;
      result.hidden = call.result === null;
      result.textContent = call.result ?? "";
    });
    this.resume.hidden = isRunning || !isLast
      || !this.calls.some(({ result }) => result === null);
  }

  card(index) {
    const name = element("span", { class: "mono" });
    const given = element("pre", { class: "mono", tabindex: 0, "aria-label": "Arguments" });
    const result = element("pre", { class: "mono result", tabindex: 0, "aria-label": "Result" });
    const field = element("textarea", { rows: 2, class: "mono", spellcheck: "false",
      placeholder: "Type what the tool returns", "aria-label": `Result of call ${index + 1}` });
    field.addEventListener("keydown", (event) => {
      if (!isSend(event)) return;
      event.preventDefault();
      this.resume.requestSubmit();
    });
    this.list.append(element("section", { class: "call", "aria-label": "Tool call" },
      element("p", {}, "Calls ", name), given, result, field));
    return { name, given, result, field };
  }
}

/** The arguments over several lines once they are whole. */
function indented(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}
