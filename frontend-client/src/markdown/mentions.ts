import type { Nodes, Parent, PhrasingContent, Root } from "mdast";

/** Somebody whom the text mentions. */
export interface Mention {
  /** What is written after `@`. */
  handle: string;
  /** It is the reader. */
  mine: boolean;
}

/** Marks the mentions in a text, but not those in code and links. */
export function mentioned(people: readonly Mention[]) {
  const byHandle = new Map(people.map((one) => [one.handle.toLowerCase(), one]));
  const handles = [...byHandle.keys()].sort((a, b) => b.length - a.length).map(escaped);
  return (tree: Root) => {
    if (handles.length > 0) mark(tree, new RegExp(`@(${handles.join("|")})`, "giu"), byHandle);
  };
}

const escaped = (handle: string) => handle.replace(/[\\^$.*+?()[\]{}|/]/g, (sign) => `\\${sign}`);

function mark(parent: Parent, pattern: RegExp, people: ReadonlyMap<string, Mention>): void {
  parent.children = (parent.children as Nodes[]).flatMap<Nodes>((child) => {
    if (child.type === "text") return split(child.value, pattern, people);
    if ("children" in child && child.type !== "link" && child.type !== "linkReference") mark(child, pattern, people);
    return [child];
  }) as typeof parent.children;
}

function split(text: string, pattern: RegExp, people: ReadonlyMap<string, Mention>): PhrasingContent[] {
  const nodes: PhrasingContent[] = [];
  let at = 0;
  for (const { 0: written, 1: handle = "", index } of text.matchAll(pattern)) {
    const end = index + written.length;
    const isPart = /[\p{L}\p{N}_@/.]$/u.test(text.slice(0, index)) || /^[-.+]*[\p{L}\p{N}_@]/u.test(text.slice(end));
    const person = people.get(handle.toLowerCase());
    if (isPart || !person) continue;
    if (index > at) nodes.push({ type: "text", value: text.slice(at, index) });
    nodes.push({
      type: "emphasis",
      data: { hName: person.mine ? "mark" : "span", hProperties: { className: ["mention"] } },
      children: [{ type: "text", value: written }],
    });
    at = end;
  }
  if (at < text.length || nodes.length === 0) nodes.push({ type: "text", value: text.slice(at) });
  return nodes;
}
