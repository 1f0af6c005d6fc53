/**
 * Runs npm scripts side by side, as many as there are cores: `node scripts/in-parallel.mjs build:demo check:package`. Prints what
 * each says when it ends, and fails if one does.
 */
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";

const waiting = process.argv.slice(2);

function run(script) {
  const began = Date.now();
  const child = spawn("npm", ["run", "--silent", script], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stdout.on("data", (data) => (said += data));
  child.stderr.on("data", (data) => (said += data));
  return new Promise((resolve) => {
    child.on("close", (code) => {
      const seconds = ((Date.now() - began) / 1000).toFixed(1);
      process.stdout.write(`${script}: ${code === 0 ? "ok" : "failed"} in ${seconds} s\n${code === 0 ? "" : said}`);
      resolve(code === 0);
    });
  });
}

async function work() {
  let passed = true;
  for (let script = waiting.shift(); script !== undefined; script = waiting.shift())
    passed = (await run(script)) && passed;
  return passed;
}

const passed = await Promise.all(Array.from({ length: availableParallelism() }, work));
process.exitCode = passed.every(Boolean) ? 0 : 1;
