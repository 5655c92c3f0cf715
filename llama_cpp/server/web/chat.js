/** The conversation on show: what is asked, what comes back, and what can be done with it. */
import { streamChat } from "./api.js";
import { button, element, toast } from "./dom.js";
import { ReplyView, UserView } from "./messages.js";
import { addChunk, isEmpty, newReply, requestMessages } from "./reply.js";
import { saveConversation } from "./store.js";
import { moveAlternatives } from "./tokens.js";

const TITLE_LENGTH = 60;

export class Chat {
  /** `onchange` is told about every conversation that was changed or has begun or ended a reply. */
  constructor({ settings, onchange }) {
    this.settings = settings;
    this.onchange = onchange;
    this.runs = new Map();
    this.failures = new Map();
    this.forgotten = new WeakSet();
    this.list = document.getElementById("messages");
    this.scroller = document.getElementById("scroller");
    this.toEnd = document.getElementById("to-end");
    this.prompt = document.getElementById("prompt");
    this.notice = element("div", { class: "notice", role: "alert" });
    this.follows = true;
    this.scroller.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.scroller;
      this.follows = scrollHeight - scrollTop - clientHeight < 40;
      this.toEnd.hidden = this.follows;
      moveAlternatives();
    });
    this.toEnd.addEventListener("click", () => this.scrollToEnd());
    new ResizeObserver(() => this.follows && this.scrollToEnd()).observe(this.scroller);
  }

  open(conversation) {
    this.conversation = conversation;
    this.views = new Map();
    this.list.replaceChildren();
    this.show();
    this.scrollToEnd();
  }

  isRunning(conversation = this.conversation) {
    return this.runs.has(conversation.id);
  }

  send(content) {
    this.conversation.messages.push({ role: "user", content });
    this.conversation.title ||= content.trim().replace(/\s+/g, " ").slice(0, TITLE_LENGTH);
    this.follows = true;
    this.answer(this.conversation);
  }

  stop(conversation = this.conversation) {
    this.runs.get(conversation.id)?.abort();
  }

  /** Lets go of a removed conversation: what still comes in for it does not bring it back. */
  forget(conversation) {
    this.forgotten.add(conversation);
    this.stop(conversation);
  }

  async answer(conversation) {
    const reply = newReply();
    const abort = new AbortController();
    const before = [...conversation.messages];
    conversation.messages.push(reply);
    this.failures.delete(conversation.id);
    this.runs.set(conversation.id, abort);
    this.changed(conversation);
    const start = performance.now();
    try {
      const body = { ...this.settings.options(), stream: true,
        stream_options: { include_usage: true }, logprobs: true, top_logprobs: 5,
        messages: requestMessages(before, this.settings.values.system) };
      for await (const chunk of streamChat(body, abort.signal)) {
        addChunk(reply, chunk, (performance.now() - start) / 1000);
        this.showSoon();
      }
    } catch (error) {
      reply.finish = abort.signal.aborted ? "stopped" : "interrupted";
      if (!abort.signal.aborted) this.failures.set(conversation.id, error);
      if (isEmpty(reply)) {
        conversation.messages = conversation.messages.filter((message) => message !== reply);
      }
    } finally {
      // By now another reply may be on its way: regenerating does not wait for the end of this.
      if (this.runs.get(conversation.id) === abort) this.runs.delete(conversation.id);
      this.changed(conversation);
    }
  }

  /** Asks once more for the end of the conversation. */
  retry() {
    if (this.conversation.messages.at(-1)?.finish === "interrupted") this.cut(-1);
    this.answer(this.conversation);
    this.prompt.focus();
  }

  regenerate(reply) {
    this.cut(this.conversation.messages.indexOf(reply));
    this.retry();
  }

  edit(message, content) {
    this.cut(this.conversation.messages.indexOf(message));
    this.send(content);
    this.prompt.focus();
  }

  resume(reply, results) {
    reply.calls.forEach((call, index) => { call.result ??= results[index]; });
    this.retry();
  }

  cut(index) {
    this.stop();
    this.conversation.messages.splice(index);
  }

  /** Removes a reply, or a message with its replies, in a way that can be undone. */
  remove(message) {
    const { conversation } = this;
    this.stop();
    const { messages } = conversation;
    const start = messages.indexOf(message);
    let end = start + 1;
    while (end < messages.length && messages[end].role !== "user") end += 1;
    const removed = messages.splice(start, end - start);
    this.failures.delete(conversation.id);
    this.changed(conversation);
    this.prompt.focus();
    toast("Message deleted", "Undo", () => {
      conversation.messages.splice(start, 0, ...removed);
      this.changed(conversation);
    });
  }

  changed(conversation) {
    if (this.forgotten.has(conversation)) return;
    conversation.updated = Date.now();
    if (!saveConversation(conversation)) {
      toast("This browser has no room left: the conversation is not kept.");
    }
    if (conversation === this.conversation) this.show();
    this.onchange(conversation);
  }

  showSoon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.update(this.conversation.messages.at(-1));
      if (this.follows) this.scrollToEnd();
    });
  }

  show() {
    const { messages } = this.conversation;
    for (const message of this.views.keys()) {
      if (messages.includes(message)) continue;
      this.views.get(message).node.remove();
      this.views.delete(message);
    }
    messages.forEach((message, index) => {
      if (!this.views.has(message)) this.views.set(message, this.view(message));
      const { node } = this.views.get(message);
      // Moving a node that already stands there would take the focus from it.
      if (this.list.children[index] !== node) {
        this.list.insertBefore(node, this.list.children[index] ?? null);
      }
      this.update(message);
    });
    this.showNotice();
    document.getElementById("empty").hidden = messages.length > 0;
    if (this.follows) this.scrollToEnd();
  }

  update(message) {
    const isLast = message === this.conversation.messages.at(-1);
    this.views.get(message)?.update({ isLast, isRunning: isLast && this.isRunning() });
  }

  view(message) {
    const remove = () => this.remove(message);
    if (message.role === "user") {
      return new UserView(message, { remove, edit: (text) => this.edit(message, text) });
    }
    return new ReplyView(message, { remove, regenerate: () => this.regenerate(message),
      resume: (results) => this.resume(message, results) });
  }

  showNotice() {
    const failure = this.failures.get(this.conversation.id);
    const last = this.conversation.messages.at(-1);
    const lacksReply = last && (last.role === "user" || last.finish === "interrupted"
      || (last.calls.length > 0 && last.calls.every(({ result }) => result !== null)));
    this.notice.remove();
    if (this.isRunning() || (!failure && !lacksReply)) return;
    const { retryAfter, status } = failure ?? {};
    const wait = retryAfter === null || retryAfter === undefined
      ? "" : ` The server asks to wait ${retryAfter} s.`;
    this.notice.replaceChildren(
      element("p", {}, (failure?.message ?? "There is no reply yet.") + wait),
      element("div", { class: "row" },
        status === 401 ? button("Enter an API key", () => this.settings.open("key")) : null,
        button(failure ? "Retry" : "Get a reply", () => this.retry(), { class: "primary" })));
    this.notice.classList.toggle("failure", Boolean(failure));
    this.list.append(this.notice);
  }

  scrollToEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }
}
