// Anthropic's client for Node, whoever answers behind the gateway.

import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";

const MODELS = ["sim-openai", "sim-anthropic", "sim-google"];
const client = new Anthropic({ maxRetries: 0 });
const HELLO = [{ role: "user", content: "Say hello." }];
const TWO_CITIES = [{ role: "user", content: "What is the weather in Rome and in Oslo?" }];
const TOOL = {
  name: "get_weather",
  description: "Tells it.",
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const TWO_USES = [{ city: "Rome" }, { city: "Oslo" }];

for (const model of MODELS) {
  const asked = { model, max_tokens: 200 };

  test(`a message is answered by ${model}`, async () => {
    const message = await client.messages.create({ ...asked, messages: HELLO });

    assert.equal(message.content[0].text, "Hello, wide world.");
    assert.equal(message.stop_reason, "end_turn");
    assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
  });

  test(`a stream is the same message by ${model}`, async () => {
    let said = "";
    const stream = client.messages.stream({ ...asked, messages: HELLO });
    stream.on("text", (text) => (said += text));

    const final = await stream.finalMessage();

    assert.equal(said, "Hello, wide world.");
    assert.equal(final.content[0].text, said);
    assert.equal(final.stop_reason, "end_turn");
    assert.ok(final.usage.output_tokens > 0);
  });

  test(`two tools are used at once and their results told by ${model}`, async () => {
    const told = { ...asked, tools: [TOOL] };
    const first = await client.messages.create({ ...told, messages: TWO_CITIES });
    const results = first.content.map(({ id }) => ({
      type: "tool_result",
      tool_use_id: id,
      content: "sunny",
    }));
    const messages = [
      ...TWO_CITIES,
      { role: "assistant", content: first.content },
      { role: "user", content: results },
    ];
    const second = await client.messages.create({ ...told, messages });

    assert.equal(first.stop_reason, "tool_use");
    assert.deepEqual(first.content.map((block) => block.input), TWO_USES);
    assert.equal(second.content[0].text, "It is sunny.");
  });

  test(`streamed uses are put together by the client from ${model}`, async () => {
    const stream = client.messages.stream({ ...asked, messages: TWO_CITIES, tools: [TOOL] });

    const final = await stream.finalMessage();

    assert.deepEqual(final.content.map((block) => block.input), TWO_USES);
    assert.equal(final.stop_reason, "tool_use");
  });

  test(`tokens are counted for ${model}`, async () => {
    const few = await client.messages.countTokens({ model, messages: HELLO });
    const many = await client.messages.countTokens({ model, messages: HELLO, tools: [TOOL] });

    assert.ok(0 < few.input_tokens && few.input_tokens < many.input_tokens);
  });

  test(`${model} is listed and looked up`, async () => {
    const listed = [];
    for await (const one of client.models.list()) listed.push(one.id);
    const found = await client.models.retrieve(model);

    assert.ok(listed.includes(model));
    assert.equal(found.type, "model");
  });
}

test("errors are the client's own", async () => {
  const asked = { model: MODELS[0], max_tokens: 20, messages: HELLO };
  const stranger = client.withOptions({ apiKey: "ck-mallory" });

  await assert.rejects(stranger.messages.create(asked), Anthropic.AuthenticationError);
  await assert.rejects(
    client.messages.create({ ...asked, model: "no-such" }),
    Anthropic.NotFoundError,
  );
  await assert.rejects(
    client.messages.create({ ...asked, temperature: 9 }),
    Anthropic.BadRequestError,
  );
});
