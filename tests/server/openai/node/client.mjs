// The openai npm package against a server: node client.mjs URL. Ends with a line of JSON.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "right", maxRetries: 0 });
const model = "tinychat";
const messages = [{ role: "user", content: "What is the capital of France?" }];
const tools = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "Get the weather of a city.",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
];
const asked = [{ role: "user", content: "What is the weather in Oslo?" }];
const done = [];

async function check(name, work) {
  await work();
  done.push(name);
}

await check("completion", async () => {
  const answer = await client.completions.create({
    model, prompt: "Q: What is the capital of France? A:", temperature: 0,
  });
  assert.match(answer.choices[0].text, /Paris/);
});
let whole;
await check("chat", async () => {
  const answer = await client.chat.completions.create({ model, messages, temperature: 0 });
  whole = answer.choices[0].message.content;
  assert.match(whole, /Paris/);
});
await check("streamed chat", async () => {
  const stream = await client.chat.completions.create({
    model, messages, temperature: 0, stream: true,
  });
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0].delta.content ?? "";
  assert.equal(text, whole);
});
await check("tools", async () => {
  const answer = await client.chat.completions.create({
    model, messages: asked, tools, temperature: 0,
  });
  const [call] = answer.choices[0].message.tool_calls;
  assert.deepEqual(JSON.parse(call.function.arguments), { city: "Oslo" });
});
await check("streamed tools", async () => {
  const runner = client.chat.completions.stream({ model, messages: asked, tools, temperature: 0 });
  const final = await runner.finalChatCompletion();
  const [call] = final.choices[0].message.tool_calls;
  assert.deepEqual(JSON.parse(call.function.arguments), { city: "Oslo" });
});
await check("JSON schema", async () => {
  const schema = {
    type: "object",
    properties: { city: { type: "string", maxLength: 12 } },
    required: ["city"],
    additionalProperties: false,
  };
  const answer = await client.chat.completions.create({
    model, messages, temperature: 0,
    response_format: { type: "json_schema", json_schema: { name: "city", schema } },
  });
  assert.deepEqual(Object.keys(JSON.parse(answer.choices[0].message.content)), ["city"]);
});
await check("embeddings", async () => {
  const answer = await client.embeddings.create({ model, input: ["one", "another text"] });
  assert.deepEqual(answer.data.map((each) => each.embedding.length), [256, 256]);
});
await check("responses", async () => {
  const answer = await client.responses.create({
    model, input: "What is the capital of France?", temperature: 0,
  });
  assert.match(answer.output_text, /Paris/);
  const stream = client.responses.stream({
    model, input: "What is the capital of France?", temperature: 0,
  });
  assert.equal((await stream.finalResponse()).output_text, answer.output_text);
});
await check("models", async () => {
  const models = await client.models.list();
  assert.deepEqual(models.data.map((each) => each.id), [model]);
});
await check("a wrong key", async () => {
  const wrong = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(wrong.models.list(), OpenAI.AuthenticationError);
});
await check("an abort in mid-stream", async () => {
  const stream = await client.completions.create({
    model, prompt: "Once upon a time", max_tokens: 1900, ignore_eos: true, stream: true,
  });
  for await (const chunk of stream) {
    assert.ok(chunk.choices);
    stream.controller.abort();
  }
});
process.stdout.write(JSON.stringify(done));
