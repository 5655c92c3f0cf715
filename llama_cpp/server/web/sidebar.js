/** The conversations that the browser keeps. */
import { button, element, iconButton, toast } from "./dom.js";
import { exportConversations, importConversations, loadConversations, newConversation,
  removeConversation, saveConversation } from "./store.js";

const CURRENT = "llamacpp.current";

export class Sidebar {
  constructor(chat) {
    this.chat = chat;
    this.conversations = loadConversations();
    this.list = document.getElementById("conversations");
    document.getElementById("new-conversation").addEventListener("click", () => this.begin());
    document.getElementById("export").addEventListener("click", () => this.export());
    const file = document.getElementById("import-file");
    document.getElementById("import").addEventListener("click", () => file.click());
    file.addEventListener("change", () => this.import(file));
    document.getElementById("open-sidebar").addEventListener("click", () => this.toggle(true));
    document.getElementById("close-sidebar").addEventListener("click", () => this.toggle(false));
    document.querySelector(".stage").addEventListener("click", ({ target }) => {
      if (this.isOpen() && !target.closest("#open-sidebar")) this.toggle(false);
    });
    const last = sessionStorage.getItem(CURRENT);
    this.select(this.conversations.find(({ id }) => id === last) ?? newConversation());
  }

  begin() {
    this.select(this.chat.conversation.messages.length ? newConversation()
      : this.chat.conversation);
    this.toggle(false);
    this.chat.prompt.focus();
  }

  select(conversation) {
    sessionStorage.setItem(CURRENT, conversation.id);
    this.chat.open(conversation);
    this.changed(conversation);
  }

  changed(conversation) {
    if (conversation.messages.length && !this.conversations.includes(conversation)) {
      this.conversations.push(conversation);
    }
    this.show();
  }

  show() {
    const { conversation: current } = this.chat;
    document.getElementById("conversation-title").textContent = titleOf(current);
    document.title = current.title ? `${current.title} · Chat` : "Chat";
    // A reply that ends elsewhere must not take away the name that is being typed, or the focus.
    if (this.list.querySelector("input")) return;
    const focused = this.list.contains(document.activeElement)
      ? document.activeElement.getAttribute("aria-label") ?? document.activeElement.title : null;
    this.conversations.sort((one, other) => other.updated - one.updated);
    this.list.replaceChildren(...this.conversations.map((conversation) => {
      const title = titleOf(conversation);
      const item = element("li", {
        class: this.chat.isRunning(conversation) ? "running" : null });
      item.append(
        button(title, () => this.choose(conversation),
          { class: "title", title, "aria-current": conversation === current ? "true" : null }),
        iconButton("edit", `Rename ${title}`, () => this.rename(conversation, item)),
        iconButton("trash", `Delete ${title}`, () => this.remove(conversation)));
      return item;
    }));
    if (focused === null) return;
    [...this.list.querySelectorAll("button")]
      .find((node) => [node.getAttribute("aria-label"), node.title].includes(focused))?.focus();
  }

  choose(conversation) {
    this.select(conversation);
    this.toggle(false);
    this.chat.prompt.focus();
  }

  rename(conversation, item) {
    const field = element("input", { "aria-label": "Name of the conversation",
      value: titleOf(conversation) });
    let isDone = false;
    const finish = (title) => {
      if (isDone) return;
      isDone = true;
      if (title.trim()) {
        conversation.title = title.trim();
        saveConversation(conversation);
      }
      field.remove();
      this.show();
      this.list.children[this.conversations.indexOf(conversation)].querySelector("button").focus();
    };
    field.addEventListener("blur", () => finish(field.value));
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") finish(field.value);
      if (event.key === "Escape") finish("");
      event.stopPropagation();
    });
    item.replaceChildren(field);
    field.select();
  }

  remove(conversation) {
    this.chat.forget(conversation);
    this.conversations = this.conversations.filter((other) => other !== conversation);
    removeConversation(conversation.id);
    if (conversation === this.chat.conversation) this.select(newConversation());
    else this.show();
    document.getElementById("new-conversation").focus();
    toast("Conversation deleted", "Undo", () => {
      this.chat.forgotten.delete(conversation);
      this.conversations.push(conversation);
      saveConversation(conversation);
      this.show();
    });
  }

  export() {
    const blob = new Blob([exportConversations(this.conversations)], { type: "application/json" });
    const address = URL.createObjectURL(blob);
    element("a", { href: address, download: "conversations.json" }).click();
    // The download reads from the address after the click has returned.
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  }

  async import(file) {
    const [chosen] = file.files;
    if (!chosen) return;
    try {
      const added = importConversations(await chosen.text());
      added.forEach(saveConversation);
      this.conversations.push(...added);
      this.show();
      toast(`${added.length} conversation${added.length === 1 ? "" : "s"} imported`);
    } catch (error) {
      toast(error.message);
    }
    file.value = "";
  }

  isOpen() {
    return document.body.classList.contains("sidebar-open");
  }

  toggle(isOpen) {
    if (isOpen === this.isOpen()) return;
    document.body.classList.toggle("sidebar-open", isOpen);
    const opener = document.getElementById("open-sidebar");
    opener.setAttribute("aria-expanded", String(isOpen));
    (isOpen ? document.getElementById("close-sidebar") : opener).focus();
  }
}

const titleOf = ({ title }) => title || "New conversation";
