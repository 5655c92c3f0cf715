/** Joins the parts of the page, and says what the keys do. */
import { listModels } from "./api.js";
import { Chat } from "./chat.js";
import { element } from "./dom.js";
import { isSend } from "./messages.js";
import { MetricsPanel } from "./metrics.js";
import { Settings } from "./settings.js";
import { Sidebar } from "./sidebar.js";
import { saveConversation } from "./store.js";
import { hideAlternatives } from "./tokens.js";

const DRAFT = "llamacpp.draft";
const byId = (id) => document.getElementById(id);
const prompt = byId("prompt");
const models = byId("model");

const settings = new Settings({ onkey: showModels });
const chat = new Chat({ settings, onchange: (conversation) => {
  sidebar.changed(conversation);
  showState();
} });
const sidebar = new Sidebar(chat);
const metrics = new MetricsPanel();

async function showModels() {
  let names;
  try {
    names = await listModels();
  } catch {
    // Sending will tell what is wrong, where it can be answered.
    names = [];
  }
  const chosen = names.includes(settings.values.model) ? settings.values.model : names[0] ?? "";
  settings.set("model", chosen || settings.values.model);
  models.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
  if (!names.length) models.append(element("option", { value: "" }, "No model yet"));
  models.value = chosen;
}

function showState() {
  const isRunning = chat.isRunning();
  byId("send").hidden = isRunning;
  byId("stop").hidden = !isRunning;
  byId("send").disabled = !prompt.value.trim();
}

function fitPrompt() {
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight}px`;
  showState();
}

function draft(text) {
  prompt.value = text;
  sessionStorage.setItem(DRAFT, text);
  fitPrompt();
}

function send() {
  const text = prompt.value;
  if (!text.trim() || chat.isRunning()) return;
  if (!models.value) showModels();
  draft("");
  chat.send(text);
  prompt.focus();
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
prompt.addEventListener("input", () => draft(prompt.value));
prompt.addEventListener("keydown", (event) => {
  if (!isSend(event)) return;
  event.preventDefault();
  send();
});
byId("stop").addEventListener("click", () => {
  chat.stop();
  prompt.focus();
});
byId("examples").addEventListener("click", ({ target }) => {
  if (!target.matches("button")) return;
  draft(target.textContent);
  send();
});
byId("open-settings").addEventListener("click", () => settings.open());
models.addEventListener("change", () => settings.set("model", models.value));

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || settings.dialog.open) return;
  if (!byId("alternatives").hidden) hideAlternatives();
  else if (chat.isRunning()) chat.stop();
  else if (sidebar.isOpen()) sidebar.toggle(false);
  else if (metrics.isOpen) metrics.toggle();
});

window.addEventListener("pagehide", () => {
  for (const conversation of sidebar.conversations) {
    if (chat.isRunning(conversation)) saveConversation(conversation);
  }
});

draft(sessionStorage.getItem(DRAFT) ?? "");
showModels();
