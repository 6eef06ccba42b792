// OpenAI's client for Node, whoever answers behind the gateway.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { toFile } from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const MODELS = ["sim-openai", "sim-anthropic", "sim-google"];
const client = new OpenAI({ maxRetries: 0 });
const HELLO = [{ role: "user", content: "Say hello." }];
const WHO = [{ role: "user", content: "Who?" }];
const TWO_CITIES = [{ role: "user", content: "What is the weather in Rome and in Oslo?" }];
const PARAMETERS = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const TOOL = { type: "function", function: { name: "get_weather", parameters: PARAMETERS } };
const RESPONSES_TOOL = { type: "function", name: "get_weather", parameters: PARAMETERS };
const Person = z.object({ name: z.string(), age: z.number().int() });

const citiesOf = (calls) => calls.map((call) => JSON.parse(call.function.arguments).city);

for (const model of MODELS) {
  test(`a chat is answered by ${model}`, async () => {
    const answer = await client.chat.completions.create({ model, messages: HELLO });

    assert.equal(answer.choices[0].message.content, "Hello, wide world.");
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.ok(answer.usage.total_tokens > 0);
  });

  test(`a stream is the same chat by ${model}`, async () => {
    const stream = client.chat.completions.stream({ model, messages: HELLO });
    let said = "";
    stream.on("content", (delta) => (said += delta));

    const final = await stream.finalChatCompletion();

    assert.equal(said, "Hello, wide world.");
    assert.equal(final.choices[0].message.content, said);
  });

  test(`two tools are called at once, whole and streamed, by ${model}`, async () => {
    const asked = { model, messages: TWO_CITIES, tools: [TOOL] };

    const whole = await client.chat.completions.create(asked);
    const streamed = await client.chat.completions.stream(asked).finalChatCompletion();

    for (const { choices } of [whole, streamed]) {
      assert.deepEqual(citiesOf(choices[0].message.tool_calls), ["Rome", "Oslo"]);
      assert.equal(choices[0].finish_reason, "tool_calls");
    }
  });

  test(`tools are run until there is an answer by ${model}`, async () => {
    const cities = [];
    const weather = {
      type: "function",
      function: {
        name: "get_weather",
        parameters: PARAMETERS,
        parse: JSON.parse,
        function: ({ city }) => cities.push(city) && "sunny",
      },
    };

    const runner = client.chat.completions.runTools({ model, messages: TWO_CITIES, tools: [weather] });

    assert.equal(await runner.finalContent(), "It is sunny.");
    assert.deepEqual(cities.sort(), ["Oslo", "Rome"]);
  });

  test(`an answer is parsed by its schema by ${model}`, async () => {
    const response_format = zodResponseFormat(Person, "person");

    const answer = await client.chat.completions.parse({ model, messages: WHO, response_format });

    assert.ok(Person.parse(answer.choices[0].message.parsed));
  });

  test(`a response is whole and streamed the same by ${model}`, async () => {
    const asked = { model, input: "Say hello." };

    const whole = await client.responses.create(asked);
    const streamed = await client.responses.stream(asked).finalResponse();

    assert.equal(whole.output_text, "Hello, wide world.");
    assert.equal(streamed.output_text, whole.output_text);
    assert.ok(streamed.usage.output_tokens > 0);
  });

  test(`a response calls two tools and is told their results by ${model}`, async () => {
    const tools = [RESPONSES_TOOL];
    const first = await client.responses.create({ model, input: TWO_CITIES, tools });
    const calls = first.output.filter((item) => item.type === "function_call");
    const results = calls.map(({ call_id }) => ({
      type: "function_call_output",
      call_id,
      output: "sunny",
    }));

    const input = [...TWO_CITIES, ...first.output, ...results];
    const second = await client.responses.create({ model, input, tools });

    assert.deepEqual(calls.map((call) => JSON.parse(call.arguments).city), ["Rome", "Oslo"]);
    assert.equal(second.output_text, "It is sunny.");
  });

  test(`${model} is listed and looked up`, async () => {
    const listed = [];
    for await (const one of client.models.list()) listed.push(one.id);

    assert.ok(listed.includes(model));
    assert.equal((await client.models.retrieve(model)).id, model);
  });
}

test("errors are the client's own", async () => {
  const stranger = client.withOptions({ apiKey: "ck-mallory" });

  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
  await assert.rejects(
    client.chat.completions.create({ model: "no-such", messages: HELLO }),
    OpenAI.NotFoundError,
  );
  await assert.rejects(
    client.chat.completions.create({ model: MODELS[0], messages: HELLO, temperature: 9 }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature",
  );
});

test("a batch is uploaded, answered and downloaded", async () => {
  const url = "/v1/chat/completions";
  const body = { model: "sim-openai", messages: HELLO };
  const line = JSON.stringify({ custom_id: "a", method: "POST", url, body });

  const upload = await toFile(Buffer.from(line), "in.jsonl");
  const file = await client.files.create({ file: upload, purpose: "batch" });
  const order = { input_file_id: file.id, endpoint: url, completion_window: "24h" };
  let batch = await client.batches.create(order);
  for (let looks = 0; looks < 400 && !["completed", "failed"].includes(batch.status); looks++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    batch = await client.batches.retrieve(batch.id);
  }
  const told = JSON.parse(await (await client.files.content(batch.output_file_id)).text());

  assert.equal(told.response.body.choices[0].message.content, "Hello, wide world.");
});

test("texts are embedded", async () => {
  const told = await client.embeddings.create({ model: "embed-openai", input: ["one", "two"] });

  assert.deepEqual(told.data.map(({ index }) => index), [0, 1]);
  assert.ok(told.data[0].embedding.length > 1);
});
