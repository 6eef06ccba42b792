// Vercel's AI SDK with its OpenAI provider, through each of OpenAI's two dialects.

import assert from "node:assert/strict";
import { test } from "node:test";
import { openai } from "@ai-sdk/openai";
import { generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";

const MODELS = ["sim-openai", "sim-anthropic", "sim-google"];
const Person = z.object({ name: z.string(), age: z.number() });
const TWO_CITIES = "What is the weather in Rome and in Oslo?";

const weather = (cities) =>
  tool({
    description: "Tells the weather.",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      cities.push(city);
      return "sunny";
    },
  });

for (const name of MODELS) {
  for (const dialect of ["chat", "responses"]) {
    const asked = { model: openai[dialect](name), maxRetries: 0 };
    const by = `by ${name} in ${dialect}`;

    test(`text is generated ${by}`, async () => {
      const { text, usage, finishReason } = await generateText({ ...asked, prompt: "Say hello." });

      assert.equal(text, "Hello, wide world.");
      assert.equal(finishReason, "stop");
      assert.ok(usage.outputTokens > 0);
    });

    test(`text is streamed ${by}`, async () => {
      const result = streamText({ ...asked, prompt: "Say hello." });
      const pieces = [];
      for await (const piece of result.textStream) pieces.push(piece);

      assert.equal(pieces.join(""), "Hello, wide world.");
      assert.ok(pieces.length > 1);
      assert.equal(await result.finishReason, "stop");
      assert.ok((await result.usage).outputTokens > 0);
    });

    test(`an object is generated and streamed ${by}`, async () => {
      const wanted = { ...asked, schema: Person, prompt: "Who?" };

      const { object } = await generateObject(wanted);
      const streamed = streamObject(wanted);
      for await (const _ of streamed.partialObjectStream);

      assert.ok(Person.parse(object));
      assert.ok(Person.parse(await streamed.object));
    });

    test(`tools are called until there is an answer ${by}`, async () => {
      const cities = [];
      const tools = { get_weather: weather(cities) };
      const stopWhen = stepCountIs(3);

      const whole = await generateText({ ...asked, tools, stopWhen, prompt: TWO_CITIES });
      const streamed = streamText({ ...asked, tools, stopWhen, prompt: TWO_CITIES });

      assert.equal(whole.text, "It is sunny.");
      assert.equal(await streamed.text, "It is sunny.");
      assert.equal((await streamed.steps).length, 2);
      assert.deepEqual(cities.sort(), ["Oslo", "Oslo", "Rome", "Rome"]);
    });
  }
}
