import { QueryClient } from "@tanstack/react-query";
import { readFile } from "node:fs/promises";
import { version } from "react";
import { version as domVersion } from "react-dom";
import { expect, test } from "vitest";
import { QueryClient as OldestQueryClient } from "./node_modules/@tanstack/react-query/build/modern/index.js";

const read = async (name: string) => JSON.parse(await readFile(new URL(name, import.meta.url), "utf8"));

test("this project's tests run with the lowest versions of the declared ranges", async () => {
  const { dependencies: oldest } = await read("package.json");
  const { peerDependencies: declared } = await read("../../package.json");
  expect(version).toBe(oldest["react"]);
  expect(domVersion).toBe(oldest["react-dom"]);
  expect(QueryClient).toBe(OldestQueryClient);
  expect((await read("node_modules/@tanstack/react-query/package.json")).version).toBe(oldest["@tanstack/react-query"]);
  for (const name of ["react", "@tanstack/react-query"]) expect(declared[name].split(" ")[0]).toBe(`^${oldest[name]}`);
});
