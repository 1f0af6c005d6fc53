/** Nobody nests this deep, and a parser's stack has room for much more. */
const DEEPEST = 50;

const container = /^(?:[ \t]*(?:>|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t])))+/;
const marker = />|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t])/g;

/**
 * Whether quotes, lists, brackets or braces of a text nest too deep to be parsed. For a few thousand levels a parser takes very
 * long or runs out of stack, and this happens in the page of every reader.
 */
export function nestsTooDeep(text: string): boolean {
  const lines = text.split("\n");
  if (lines.length > 10_000) return true;
  let depth = 0;
  for (const line of lines) {
    const lead = container.exec(line)?.[0];
    if (lead === undefined) continue;
    const indent = (/^[ \t]*/.exec(lead)?.[0] ?? "").replace(/\t/g, "    ").length;
    depth = Math.max(depth, (lead.match(marker) ?? []).length + indent / 2);
  }
  return depth > DEEPEST || bracketDepth(text) > DEEPEST || openingSigns(text) > 2_000;
}

function bracketDepth(text: string): number {
  const open: Record<string, number> = { "[": 0, "{": 0, "(": 0 };
  const closes: Record<string, string> = { "]": "[", "}": "{", ")": "(" };
  let deepest = 0;
  for (const letter of text) {
    if (letter in open) deepest = Math.max(deepest, (open[letter] = (open[letter] ?? 0) + 1));
    const opener = closes[letter];
    if (opener !== undefined) open[opener] = Math.max(0, (open[opener] ?? 0) - 1);
    // Brackets can span lines up to a blank line. Resetting at each line is close enough.
    if (letter === "\n") for (const name in open) open[name] = 0;
  }
  return deepest;
}

/** Counts signs that may open a construct. The parser matches them with each other, in quadratic time at worst. */
function openingSigns(text: string): number {
  let most = 0;
  for (const paragraph of text.split(/\n[ \t]*\n/))
    most = Math.max(most, (paragraph.match(/[*_~]+|\^|<su[bp]>|!?\[|\$+|`+/g) ?? []).length);
  return most;
}
