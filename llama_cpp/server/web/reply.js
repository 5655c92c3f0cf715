/** Replies as data: how chunks add up to one, and how a conversation becomes a request again. */

export function newReply() {
  return { role: "assistant", content: "", reasoning: "", calls: [], tokens: [], stats: {},
    finish: "" };
}

export const isEmpty = (reply) => !reply.content && !reply.reasoning && !reply.calls.length;

/** Adds a chunk; `elapsed` is in seconds since the request was sent. */
export function addChunk(reply, chunk, elapsed) {
  const choice = chunk.choices?.[0];
  if (choice) {
    const delta = choice.delta ?? {};
    reply.content += delta.content ?? "";
    reply.reasoning += delta.reasoning_content ?? "";
    for (const call of delta.tool_calls ?? []) addCall(reply.calls, call);
    for (const entry of choice.logprobs?.content ?? []) reply.tokens.push(compact(entry));
    if (choice.finish_reason) reply.finish = choice.finish_reason;
    const { stats } = reply;
    if (stats.first === undefined && !isEmpty(reply)) stats.first = elapsed;
    if (stats.first !== undefined) stats.last = elapsed;
    stats.completion = Math.max(stats.completion ?? 0, reply.tokens.length);
  }
  if (chunk.usage) {
    reply.stats.prompt = chunk.usage.prompt_tokens;
    reply.stats.completion = chunk.usage.completion_tokens;
    reply.stats.cached = chunk.usage.prompt_tokens_details?.cached_tokens ?? 0;
  }
}

function addCall(calls, { index = Math.max(0, calls.length - 1), id, function: part }) {
  calls[index] ??= { id: "", name: "", arguments: "", result: null };
  if (id) calls[index].id = id;
  calls[index].name += part?.name ?? "";
  calls[index].arguments += part?.arguments ?? "";
}

const rounded = (logprob) => Math.round((logprob ?? -1e4) * 1e4) / 1e4;

/** Short, since every token of every reply is kept: text, log-probability, alternatives. */
function compact({ token, bytes, logprob, top_logprobs: top }) {
  return [visible(token, bytes), rounded(logprob),
    (top ?? []).map((other) => [visible(other.token, other.bytes), rounded(other.logprob)])];
}

/** A token may end within a character; then its bytes say more than a replacement mark. */
function visible(token, bytes) {
  if (!token.includes("\ufffd") || !bytes) return token;
  return bytes.map((byte) => `<${byte.toString(16).padStart(2, "0")}>`).join("");
}

/** What a reply cost, in words. */
export function describe({ stats, finish }) {
  const { prompt, cached, completion, first, last } = stats;
  const parts = [];
  if (completion) parts.push(`${completion} token${completion === 1 ? "" : "s"}`);
  if (completion > 1 && last > first) {
    parts.push(`${((completion - 1) / (last - first)).toFixed(1)} tokens/s`);
  }
  if (prompt) parts.push(`prompt ${prompt}${cached ? ` (${cached} cached)` : ""}`);
  if (first !== undefined) parts.push(`first after ${first.toFixed(2)} s`);
  const ends = { length: "token limit reached", stopped: "stopped", interrupted: "interrupted" };
  if (ends[finish]) parts.push(ends[finish]);
  return parts.join(" · ");
}

/** The messages of a request. A call that nobody answered is told without a result. */
export function requestMessages(messages, system) {
  const told = system.trim() ? [{ role: "system", content: system }] : [];
  for (const { role, content, calls, reasoning } of messages) {
    if (!calls?.length) {
      told.push({ role, content });
      continue;
    }
    // Models that think between calls want their thoughts back; templates of others drop them.
    const thoughts = reasoning ? { reasoning_content: reasoning } : {};
    told.push({ role, content, ...thoughts, tool_calls: calls.map((call) => ({ id: call.id, type: "function",
      function: { name: call.name, arguments: call.arguments } })) });
    for (const { id, result } of calls) {
      if (result !== null) told.push({ role: "tool", tool_call_id: id, content: result });
    }
  }
  return told;
}
