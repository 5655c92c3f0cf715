/** The settings panel, and what it adds to a request. */
import { apiKey } from "./api.js";
import { loadSettings, saveSettings } from "./store.js";

const NUMBERS = ["temperature", "top_p", "top_k", "min_p", "repeat_penalty", "max_tokens", "seed"];

export class Settings {
  constructor({ onkey }) {
    this.values = loadSettings();
    this.dialog = document.getElementById("settings");
    this.form = this.dialog.querySelector("form");
    this.form.addEventListener("input", ({ target }) => this.change(target));
    this.form.elements.key.addEventListener("change", onkey);
    document.getElementById("reset-settings").addEventListener("click", () => {
      const { model } = this.values;
      localStorage.removeItem("llamacpp.settings");
      this.values = { ...loadSettings(), model };
      saveSettings(this.values);
      this.fill();
    });
    // A click beside the panel is one on the dialog's own backdrop.
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
    this.fill();
  }

  open(name = "system") {
    this.dialog.showModal();
    this.form.elements[name].focus();
  }

  fill() {
    for (const field of this.fields()) {
      field.value = field.name === "key" ? apiKey.get() : this.values[field.name] ?? "";
    }
    this.checkTools();
  }

  fields() {
    return [...this.form.elements].filter((field) => field.name);
  }

  change({ name, value }) {
    if (name === "key") {
      apiKey.set(value.trim());
      return;
    }
    this.set(name, value);
    if (name === "tools") this.checkTools();
  }

  set(name, value) {
    this.values[name] = value;
    saveSettings(this.values);
  }

  checkTools() {
    const note = document.getElementById("tools-note");
    const field = this.form.elements.tools;
    let problem = "";
    try {
      this.tools();
    } catch (error) {
      problem = error.message;
    }
    field.setAttribute("aria-invalid", String(Boolean(problem)));
    note.textContent = problem || "A JSON list of OpenAI tool definitions.";
    note.classList.toggle("wrong", Boolean(problem));
  }

  tools() {
    if (!this.values.tools.trim()) return null;
    let tools;
    try {
      tools = JSON.parse(this.values.tools);
    } catch (error) {
      throw new Error(`The tools are not valid JSON: ${error.message}`);
    }
    if (!Array.isArray(tools)) throw new Error("The tools must be a JSON list.");
    return tools;
  }

  /** The fields of a request that come from here. */
  options() {
    const { model, thinking } = this.values;
    const options = {};
    if (model) options.model = model;
    for (const name of NUMBERS) {
      if (String(this.values[name] ?? "").trim()) options[name] = Number(this.values[name]);
    }
    if (thinking) options.chat_template_kwargs = { enable_thinking: thinking === "on" };
    const tools = this.tools();
    if (tools?.length) options.tools = tools;
    return options;
  }
}
