/**
 * Markdown as models write it, a part of CommonMark and tables, straight into elements.
 *
 * What could be matched in many ways is bounded in length: no reply can make the page hang.
 */
import { copyButton, element } from "./dom.js";

const FENCE = /^\s{0,3}(`{3,}|~{3,})\s*([^\s`]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(\S.*)$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( +)(?=\S)/;
const QUOTE = /^ {0,3}> ?/;
const DELIMITER = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const MAX_DEPTH = 8;

/** Shows a text that grows; only the blocks that more text can still change are read again. */
export class MarkdownView {
  constructor(container) {
    this.container = container;
    this.clear();
  }

  clear() {
    this.container.replaceChildren();
    this.source = "";
    this.settled = 0;
    this.open = [];
  }

  show(source) {
    if (!source.startsWith(this.source)) this.clear();
    this.source = source;
    const lines = source.slice(this.settled).split("\n");
    const blocks = [...readBlocks(lines)];
    blocks.forEach((block, index) => this.place(block, index));
    for (const { node } of this.open.splice(blocks.length)) node.remove();
    // Until its first line is complete, a block may turn out to belong to the one before.
    const isSure = blocks.length > 0 && blocks.at(-1).start < lines.length - 1;
    const count = Math.max(0, blocks.length - (isSure ? 1 : 2));
    if (count === 0) return;
    this.open.splice(0, count);
    const start = blocks[count].start;
    this.settled += lines.slice(0, start).reduce((sum, line) => sum + line.length + 1, 0);
  }

  place(block, index) {
    const shown = this.open[index];
    if (shown?.raw === block.raw) return;
    // Code keeps its element, and with it the focus of the button and the scroll position.
    if (shown && shown.kind === "code" && block.kind === "code") {
      shown.node.querySelector("span").textContent = block.language;
      shown.node.querySelector("code").textContent = block.text;
      shown.raw = block.raw;
      return;
    }
    const node = block.build();
    if (shown) shown.node.replaceWith(node);
    else this.container.append(node);
    this.open[index] = { raw: block.raw, kind: block.kind, node };
  }
}

function* readBlocks(lines, depth = 0) {
  for (let start = 0; start < lines.length;) {
    if (!lines[start].trim()) {
      start += 1;
      continue;
    }
    const block = readBlock(lines, start, depth);
    const raw = lines.slice(start, block.end).join("\n");
    yield { ...block, start, raw };
    start = block.end;
  }
}

function buildBlocks(lines, depth) {
  return [...readBlocks(lines, depth)].map((block) => block.build());
}

function readBlock(lines, start, depth) {
  const line = lines[start];
  if (FENCE.test(line)) return readCode(lines, start);
  const heading = HEADING.exec(line);
  if (heading) {
    // The page has the first levels for itself.
    const tag = `h${Math.min(6, heading[1].length + 2)}`;
    return { end: start + 1, build: () => element(tag, {}, ...inline(heading[2])) };
  }
  if (RULE.test(line)) return { end: start + 1, build: () => element("hr") };
  if (depth < MAX_DEPTH && QUOTE.test(line)) return readQuote(lines, start, depth);
  if (depth < MAX_DEPTH && ITEM.test(line)) return readList(lines, start, depth);
  if (startsTable(lines, start)) return readTable(lines, start);
  let end = start + 1;
  while (end < lines.length && !interrupts(lines, end)) end += 1;
  const text = lines.slice(start, end).map((part) => part.trim()).join("\n");
  return { kind: "paragraph", end, build: () => element("p", {}, ...inline(text)), text };
}

function interrupts(lines, at) {
  const line = lines[at];
  return !line.trim() || [FENCE, HEADING, RULE, ITEM, QUOTE].some((start) => start.test(line))
    || startsTable(lines, at);
}

function readCode(lines, start) {
  const [, fence, info] = FENCE.exec(lines[start]);
  const language = info || "text";
  const indent = lines[start].search(/\S/);
  let end = start + 1;
  const closes = (line) => line.trim().startsWith(fence) && !line.replaceAll(fence[0], "").trim();
  while (end < lines.length && !closes(lines[end])) end += 1;
  const text = lines.slice(start + 1, end).map((line) => unindent(line, indent)).join("\n");
  const build = () => {
    const code = element("code", {}, text);
    const bar = element("div", { class: "code-bar" }, element("span", {}, language),
      copyButton(() => code.textContent));
    return element("div", { class: "code" }, bar, element("pre", { tabindex: 0 }, code));
  };
  return { kind: "code", end: Math.min(end + 1, lines.length), build, text, language };
}

function readQuote(lines, start, depth) {
  let end = start;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const inner = lines.slice(start, end).map((line) => line.replace(QUOTE, ""));
  return { end, build: () => element("blockquote", {}, ...buildBlocks(inner, depth + 1)) };
}

const indentOf = (line) => line.search(/\S|$/);
const unindent = (line, count) => line.slice(Math.min(count, indentOf(line)));
const isOrdered = (item) => /\d/.test(item[2]);

function readList(lines, start, depth) {
  const first = ITEM.exec(lines[start]);
  const indent = first[1].length;
  const items = [];
  let end = start;
  let width = 0;
  for (let at = start; at < lines.length; at += 1) {
    const line = lines[at];
    const item = RULE.test(line) ? null : ITEM.exec(line);
    if (item && item[1].length <= indent + 1) {
      if (isOrdered(item) !== isOrdered(first) || item[1].length < indent) break;
      width = item[0].length;
      items.push([line.slice(width)]);
    } else if (!line.trim()) {
      items.at(-1).push("");
      continue;
    } else if (indentOf(line) > indent + 1) {
      items.at(-1).push(unindent(line, width));
    } else if (lines[at - 1].trim() && !interrupts(lines, at)) {
      items.at(-1).push(line.trim());
    } else {
      break;
    }
    end = at + 1;
  }
  const build = () => {
    const number = isOrdered(first) ? Number.parseInt(first[2], 10) : 1;
    return element(isOrdered(first) ? "ol" : "ul", { start: number === 1 ? null : number },
      ...items.map((content) => buildItem(content, depth)));
  };
  return { end, build };
}

function buildItem(content, depth) {
  const blocks = [...readBlocks(content, depth + 1)].map((block, index) =>
    index === 0 && block.kind === "paragraph" ? inline(block.text) : [block.build()]);
  return element("li", {}, ...blocks.flat());
}

function startsTable(lines, at) {
  // The line after the rule must have begun: before that the rule may not be whole.
  return at + 2 < lines.length && lines[at].includes("|") && lines[at + 1].includes("|")
    && DELIMITER.test(lines[at + 1]);
}

function cellsOf(line) {
  const cells = line.trim().replace(/^\|/, "").split(/(?<!\\)\|/);
  if (cells.length > 1 && !cells.at(-1).trim()) cells.pop();
  return cells.map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function readTable(lines, start) {
  const aligns = cellsOf(lines[start + 1]).map((rule) =>
    rule.endsWith(":") ? (rule.startsWith(":") ? "center" : "right") : null);
  let end = start + 2;
  while (end < lines.length && lines[end].includes("|")) end += 1;
  const row = (tag, line) => element("tr", {}, ...cellsOf(line).slice(0, aligns.length)
    .map((cell, column) => element(tag, { class: aligns[column] }, ...inline(cell))));
  const build = () => element("div", { class: "table" }, element("table", {},
    element("thead", {}, row("th", lines[start])),
    element("tbody", {}, ...lines.slice(start + 2, end).map((line) => row("td", line)))));
  return { end, build };
}

const INLINE = new RegExp([
  "\\\\(?<escaped>[!-/:-@[-`{-~])",
  "(?<ticks>`{1,8})(?!`)(?<code>[\\s\\S]{0,2000}?[^`])\\k<ticks>(?!`)",
  "!?\\[(?<label>[^\\]\\n]{0,500})\\]\\((?<href>(?:[^()\\s]|\\([^()\\s]{0,500}\\)){1,2000})"
    + "(?:\\s[^)\\n]{0,300})?\\)",
  "\\*\\*(?=\\S)(?<bold>[\\s\\S]{0,1000}?\\S)\\*\\*(?!\\*)",
  "(?<!\\w)__(?=\\S)(?<strong>[\\s\\S]{0,1000}?\\S)__(?!\\w)",
  "\\*(?=[^\\s*])(?<italic>[^*]{0,1000}?[^\\s*])\\*(?!\\*)",
  "(?<!\\w)_(?=[^\\s_])(?<emphasis>[^_]{0,1000}?[^\\s_])_(?!\\w)",
  "~~(?=\\S)(?<deleted>[\\s\\S]{0,1000}?\\S)~~",
  "(?<bare>https?://[^\\s<>\"'`]{1,2000})",
  "(?<newline>\\n)",
].join("|"), "g");

function inline(text, depth = 0) {
  if (depth > MAX_DEPTH) return [text];
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    const { escaped, code, label, href, newline, deleted, ...rest } = match.groups;
    const [bold, italic] = [rest.bold ?? rest.strong, rest.italic ?? rest.emphasis];
    const within = (tag, part) => element(tag, {}, ...inline(part, depth + 1));
    nodes.push(text.slice(end, match.index));
    end = match.index + match[0].length;
    if (escaped) nodes.push(escaped);
    else if (code !== undefined) nodes.push(element("code", {}, code.replace(/^ (.+) $/, "$1")));
    else if (bold !== undefined) nodes.push(within("strong", bold));
    else if (italic !== undefined) nodes.push(within("em", italic));
    else if (deleted !== undefined) nodes.push(within("del", deleted));
    else if (newline) nodes.push(element("br"));
    else if (href) nodes.push(link(href, inline(label || href, MAX_DEPTH), match[0]));
    else {
      const address = rest.bare.replace(/[.,;:!?)\]*_~]+$/, "");
      end -= rest.bare.length - address.length;
      nodes.push(depth < MAX_DEPTH ? link(address, [address], address) : address);
    }
  }
  nodes.push(text.slice(end));
  return nodes.filter((node) => node !== "");
}

/** Web addresses only; pictures become links too, since loading one would tell who reads it. */
function link(href, children, source) {
  const url = URL.canParse(href) ? new URL(href) : null;
  if (!url || !["http:", "https:"].includes(url.protocol)) return source;
  return element("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" },
    ...children);
}
