/** Deeper than anybody writes, and far from what exhausts a parser's stack. */
const DEEPEST = 50;

const container = /^(?:[ \t]*(?:>|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t])))+/;
const marker = />|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t])/g;

/**
 * Whether a text nests deeper than is worth parsing: quotes, lists, brackets or braces. A parser takes very long for a few
 * thousand levels, or runs out of stack, in the page of everybody who reads it.
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
    // A blank line ends what a bracket may span; a line's end is near enough.
    if (letter === "\n") for (const name in open) open[name] = 0;
  }
  return deepest;
}

/** Signs that may begin something are matched with each other, in quadratic time at worst. */
function openingSigns(text: string): number {
  let most = 0;
  for (const paragraph of text.split(/\n[ \t]*\n/))
    most = Math.max(most, (paragraph.match(/[*_~]+|\^|<su[bp]>|!?\[|\$+|`+/g) ?? []).length);
  return most;
}
