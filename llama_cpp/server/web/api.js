/** The server's routes. Addresses are relative, so the page also works below a path prefix. */

export class ApiError extends Error {
  constructor(message, { status = 0, retryAfter = null } = {}) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

// The key lives as long as the tab: what is kept for longer could be read by whoever comes next.
const KEY = "llamacpp.key";
export const apiKey = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (key) => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY)),
};

async function request(path, { body, signal } = {}) {
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (apiKey.get()) headers.Authorization = `Bearer ${apiKey.get()}`;
  let response;
  try {
    response = await fetch(path, {
      method: body ? "POST" : "GET", headers, signal, cache: "no-store",
      body: body && JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("The server cannot be reached.");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  const { status } = response;
  let told = "";
  try {
    const { error, detail } = JSON.parse(await response.text());
    told = error?.message ?? error ?? detail ?? "";
  } catch {
    // A proxy's page of its own says less than the status does.
  }
  const retryAfter = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new ApiError(typeof told === "string" && told ? told : `The server answered ${status}.`,
    { status, retryAfter: Number.isNaN(retryAfter) ? null : retryAfter });
}

export async function listModels() {
  const { data } = await (await request("v1/models")).json();
  return data.map((model) => model.id);
}

export async function readSlots() {
  return (await request("slots")).json();
}

/** The samples of `GET /metrics` by name, without the prefix that they share. */
export async function readMetrics() {
  const samples = new Map();
  for (const line of (await (await request("metrics")).text()).split("\n")) {
    const sample = /^llamacpp:(\w+)(?:\{[^}]*\})?\s+(\S+)/.exec(line);
    if (sample) samples.set(sample[1], (samples.get(sample[1]) ?? 0) + Number(sample[2]));
  }
  return samples;
}

/** Yields the chunks of a streamed chat completion. */
export async function* streamChat(body, signal) {
  const response = await request("v1/chat/completions", { body, signal });
  try {
    for await (const data of events(response.body)) {
      signal.throwIfAborted();
      if (data === "[DONE]") return;
      let chunk;
      try {
        chunk = JSON.parse(data);
      } catch {
        throw new ApiError("The server sent something that is not JSON.");
      }
      if (chunk.error) {
        throw new ApiError(chunk.error.message ?? String(chunk.error),
          { status: Number(chunk.error.code) || 0 });
      }
      yield chunk;
    }
  } catch (error) {
    if (signal.aborted || error instanceof ApiError) throw error;
    throw new ApiError("The connection was lost.");
  }
  throw new ApiError("The connection ended before the reply did.");
}

/** The data of each server-sent event, wherever the network cut the bytes. */
export async function* events(stream) {
  const decoder = new TextDecoder();
  const reader = stream.getReader();
  let rest = "";
  let data = [];
  try {
    for (let done = false; !done;) {
      const part = await reader.read();
      done = part.done;
      rest += done ? `${decoder.decode()}\n\n` : decoder.decode(part.value, { stream: true });
      // A carriage return at the end may be half of a line end: it waits for what follows.
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
        else if (line === "" && data.length) {
          yield data.join("\n");
          data = [];
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
