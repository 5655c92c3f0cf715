/**
 * Everything on the page is built here, from text and elements and never from markup: what a model
 * writes cannot become anything but text.
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function icon(name) {
  return svg("svg", { class: "icon", "aria-hidden": "true" },
    svg("use", { href: `web/icons.svg#${name}` }));
}

export function button(label, onclick, attributes = {}) {
  return element("button", { type: "button", onclick, ...attributes }, label);
}

export function iconButton(name, label, onclick, attributes = {}) {
  return element("button",
    { type: "button", class: "icon-button", "aria-label": label, title: label, onclick,
      ...attributes },
    icon(name));
}

/** A button that copies what `text()` gives, and says so. */
export function copyButton(text) {
  const node = button("Copy", async () => {
    node.textContent = (await copy(text())) ? "Copied" : "Not allowed";
    setTimeout(() => { node.textContent = "Copy"; }, 1500);
  });
  return node;
}

async function copy(text) {
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(() => true, () => false);
  }
  // Over plain HTTP from another machine there is only the older way.
  const field = element("textarea", { value: text, class: "visually-hidden" });
  const focused = document.activeElement;
  document.body.append(field);
  field.select();
  const isDone = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return isDone;
}

/** A line for what was done, and how to undo it. */
export function toast(text, action, onaction) {
  const holder = document.getElementById("toast");
  const hide = () => holder.replaceChildren();
  holder.replaceChildren(element("span", {}, text));
  if (action) holder.append(button(action, () => { hide(); onaction(); }, { class: "link" }));
  holder.append(iconButton("close", "Dismiss", hide));
  clearTimeout(toast.timer);
  toast.timer = setTimeout(hide, 8000);
}
