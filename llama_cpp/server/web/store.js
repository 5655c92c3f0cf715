/** What the browser keeps: conversations, one key each, and the settings. */

const CONVERSATION = "llamacpp.conversation.";
const SETTINGS = "llamacpp.settings";
const FORMAT = "llamacpp-conversations";

export function newConversation() {
  return { id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`,
    title: "", updated: Date.now(), messages: [] };
}

export function loadConversations() {
  const keys = Object.keys(localStorage).filter((key) => key.startsWith(CONVERSATION));
  return keys.map((key) => checked(readJson(key))).filter(Boolean);
}

function readJson(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

/** Tells whether there was room; the log-probabilities are given up before any text is. */
export function saveConversation(conversation) {
  const key = CONVERSATION + conversation.id;
  const write = (value) => {
    try {
      localStorage.setItem(key, JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  };
  if (write(conversation)) return true;
  const oldestFirst = loadConversations().sort((one, two) => one.updated - two.updated);
  for (const other of oldestFirst) {
    if (other.id === conversation.id) continue;
    localStorage.setItem(CONVERSATION + other.id, JSON.stringify(withoutTokens(other)));
    if (write(conversation)) return true;
  }
  return write(withoutTokens(conversation));
}

function withoutTokens(conversation) {
  const messages = conversation.messages.map(({ tokens, ...message }) => message);
  return { ...conversation, messages };
}

export function removeConversation(id) {
  localStorage.removeItem(CONVERSATION + id);
}

export function exportConversations(conversations) {
  return JSON.stringify({ format: FORMAT, version: 1, conversations }, null, 1);
}

/** The conversations of an exported text, as new ones: importing twice overwrites nothing. */
export function importConversations(text) {
  let read;
  try {
    read = JSON.parse(text);
  } catch {
    throw new Error("This file is not JSON.");
  }
  if (read?.format !== FORMAT || !Array.isArray(read.conversations)) {
    throw new Error("This file holds no conversations exported from here.");
  }
  return read.conversations.map(checked).filter(Boolean)
    .map((conversation) => ({ ...conversation, id: newConversation().id }));
}

const text = (value) => (typeof value === "string" ? value : "");

/** The parts that the page relies on, whatever a file or another version has written. */
function checked(value) {
  if (!value || !Array.isArray(value.messages)) return null;
  const messages = value.messages
    .filter((message) => ["user", "assistant"].includes(message?.role))
    .map((message) => ({
      role: message.role,
      content: text(message.content),
      ...(message.role === "assistant" && {
        reasoning: text(message.reasoning),
        calls: list(message.calls).map((call) => ({ id: text(call?.id), name: text(call?.name),
          arguments: text(call?.arguments), result: call?.result ?? null })),
        tokens: list(message.tokens).filter((token) => Array.isArray(token?.[2])),
        stats: message.stats && typeof message.stats === "object" ? message.stats : {},
        // A reply without an end was cut off when its page was closed.
        finish: text(message.finish) || "interrupted",
      }),
    }));
  return { id: text(value.id) || newConversation().id, title: text(value.title),
    updated: Number(value.updated) || 0, messages };
}

const list = (value) => (Array.isArray(value) ? value : []);

export function loadSettings() {
  return { model: "", system: "", tools: "", thinking: "", ...readJson(SETTINGS) };
}

export function saveSettings(settings) {
  localStorage.setItem(SETTINGS, JSON.stringify(settings));
}
