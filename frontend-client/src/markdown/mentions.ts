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
  const longestFirst = people
    .map(({ handle, mine }) => ({ handle: handle.toLowerCase(), mine }))
    .sort((a, b) => b.handle.length - a.handle.length);
  return (tree: Root) => {
    if (longestFirst.length > 0) mark(tree, longestFirst);
  };
}

function mark(parent: Parent, people: readonly Mention[]): void {
  parent.children = (parent.children as Nodes[]).flatMap<Nodes>((child) => {
    if (child.type === "text") return split(child.value, people);
    if ("children" in child && child.type !== "link" && child.type !== "linkReference") mark(child, people);
    return [child];
  }) as typeof parent.children;
}

function split(text: string, people: readonly Mention[]): PhrasingContent[] {
  const nodes: PhrasingContent[] = [];
  let done = 0;
  for (let at = text.indexOf("@"); at >= 0; at = text.indexOf("@", at + 1)) {
    const person = at < done ? undefined : people.find(({ handle }) => isAt(text, at, handle));
    if (!person) continue;
    const end = at + 1 + person.handle.length;
    if (at > done) nodes.push({ type: "text", value: text.slice(done, at) });
    nodes.push({
      type: "emphasis",
      data: { hName: person.mine ? "mark" : "span", hProperties: { className: ["mention"] } },
      children: [{ type: "text", value: text.slice(at, end) }],
    });
    done = end;
  }
  if (done < text.length || nodes.length === 0) nodes.push({ type: "text", value: text.slice(done) });
  return nodes;
}

/** Whether the handle stands after this `@`, as the server finds it: no letter or digit is beside it. */
function isAt(text: string, at: number, handle: string): boolean {
  const end = at + 1 + handle.length;
  if (text.slice(at + 1, end).toLowerCase() !== handle) return false;
  return (
    !/[\p{L}\p{N}]$/u.test(text.slice(Math.max(0, at - 2), at)) && !/^[\p{L}\p{N}]/u.test(text.slice(end, end + 2))
  );
}
