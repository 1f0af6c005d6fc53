import type { Element, ElementContent, Root as HastRoot } from "hast";
import type { Emphasis, Nodes, Parent, PhrasingContent, Root, Strong, Text } from "mdast";

/** A micromark extension that turns HTML off, because scientists write `<` as a sign. */
export function noHtml(this: unknown): void {
  const data = (this as { data(): { micromarkExtensions?: unknown[] } }).data();
  (data.micromarkExtensions ??= []).push({ disable: { null: ["htmlText", "htmlFlow"] } });
}

type File = { value: unknown };

/** Restores signs that Markdown takes for markup but scientists mean literally, and adds scientific notation. */
export function scientific() {
  return (tree: Root, file: File) => walk(tree, String(file.value), false);
}

function walk(parent: Parent, source: string, inLink: boolean): void {
  const children: Nodes[] = [];
  for (const child of parent.children as Nodes[]) {
    if (child.type === "text") {
      children.push(...(inLink ? [child] : inline(child.value)));
      continue;
    }
    if ((child.type === "emphasis" || child.type === "strong") && isBetweenWords(child, source)) {
      // Products and powers, such as 2*3*4 and a**2 + b**2.
      const sign: Text = { type: "text", value: child.type === "strong" ? "**" : "*" };
      walk(child, source, inLink);
      children.push(sign, ...child.children, { ...sign });
      continue;
    }
    if ((child.type as string) === "inlineMath" && isMoney(child, source)) {
      children.push(...inline(sliceOf(child, source)));
      continue;
    }
    if ((child.type as string) === "inlineMath" && sliceOf(child, source).startsWith("$$")) {
      // $$..$$ within a line is a display formula, too.
      child.data = {
        ...child.data,
        hProperties: { className: ["language-math", "math-display"] },
      } as typeof child.data;
    }
    if ("children" in child) walk(child, source, inLink || child.type === "link" || child.type === "linkReference");
    children.push(child);
  }
  parent.children = joinTexts(children) as typeof parent.children;
}

const offsets = (node: Nodes) => [node.position?.start.offset ?? 0, node.position?.end.offset ?? 0] as const;
const sliceOf = (node: Nodes, source: string) => source.slice(...offsets(node));

function isBetweenWords(node: Emphasis | Strong, source: string): boolean {
  const [start, end] = offsets(node);
  return (
    /[\p{L}\p{N})\]]$/u.test(source.slice(Math.max(0, start - 2), start)) &&
    /^[\p{L}\p{N}([]/u.test(source.slice(end, end + 2))
  );
}

/** Whether a formula is in fact two prices in a sentence, such as `$5 and $10`. */
function isMoney(node: Nodes, source: string): boolean {
  const written = sliceOf(node, source);
  if (!written.startsWith("$") || written.startsWith("$$")) return false;
  const inside = written.slice(1, -1);
  const next = source[offsets(node)[1]] ?? "";
  return (
    /^\s|\s$/.test(inside) ||
    /\d/.test(next) ||
    /^\d[\d.,]*\s?(?:[kKM]|million|billion)?\s+(?:[a-z]{2,}|per)\b/.test(inside)
  );
}

function joinTexts(nodes: Nodes[]): Nodes[] {
  const joined: Nodes[] = [];
  for (const node of nodes) {
    const last = joined[joined.length - 1];
    if (node.type === "text" && last?.type === "text")
      joined[joined.length - 1] = { type: "text", value: last.value + node.value };
    else joined.push(node);
  }
  return joined;
}

interface Rule {
  pattern: RegExp;
  node: (match: RegExpExecArray) => PhrasingContent;
  /** The text before a match must match this. */
  after?: RegExp;
}

const rules: Rule[] = [
  { pattern: /<(sub|sup)>([^<>\n]{1,100})<\/\1>/g, node: ([, tag = "", text = ""]) => element(tag, text) },
  // H~2~O, x~i,j~: only after a letter or a bracket, because 20~25~30 is a range.
  {
    pattern: /~([\p{L}\p{N}+\-−,]{1,12})~(?!~)/gu,
    after: /[\p{L})\]}]$/u,
    node: ([, text = ""]) => element("sub", text),
  },
  // 10^-3^, ^13^C, Ca^2+^, but not the sum in x^2+y^2.
  { pattern: /\^([+\-−]?[\p{L}\p{N}.,]{1,12}[+\-−*]?)\^/gu, node: ([, text = ""]) => element("sup", text) },
  {
    pattern: /\b(?:doi:\s?)?(10\.\d{4,9}\/[^\s<>"{}|\\^`]{1,200})/gi,
    node: ([written = "", doi = ""]) => link(written, `https://doi.org/${trimmed(doi)}`),
  },
  {
    pattern: /\bPMID:?\s?(\d{1,8})\b/g,
    node: ([written = "", id = ""]) => link(written, `https://pubmed.ncbi.nlm.nih.gov/${id}/`),
  },
  {
    pattern: /\barXiv:\s?(\d{4}\.\d{4,5}(?:v\d+)?|[a-z-]+(?:\.[A-Z]{2})?\/\d{7}(?:v\d+)?)/gi,
    node: ([written = "", id = ""]) => link(written, `https://arxiv.org/abs/${id}`),
  },
];

/** Removes what does not belong to a DOI at its end: punctuation of the sentence, and brackets that opened before the DOI. */
function trimmed(text: string): string {
  let end = text.replace(/[.,;:!?'"]+$/, "");
  while (
    /[)\]]$/.test(end) &&
    end.split("(").length + end.split("[").length < end.split(")").length + end.split("]").length
  ) {
    end = end.slice(0, -1).replace(/[.,;:!?'"]+$/, "");
  }
  return end;
}

function element(tag: string, value: string): PhrasingContent {
  return { type: "emphasis", data: { hName: tag }, children: [{ type: "text", value }] };
}

function link(written: string, url: string): PhrasingContent {
  return { type: "link", url, children: [{ type: "text", value: trimmed(written) }] };
}

/** The nodes of a text, with sub- and superscripts and references. */
function inline(text: string): PhrasingContent[] {
  const found = rules.flatMap((rule) => allOf(rule, text)).sort((a, b) => a.start - b.start);
  const nodes: PhrasingContent[] = [];
  let at = 0;
  for (const { start, end, node } of found) {
    if (start < at) continue;
    if (start > at) nodes.push({ type: "text", value: text.slice(at, start) });
    nodes.push(node);
    at = end;
  }
  if (at < text.length) nodes.push({ type: "text", value: text.slice(at) });
  return nodes;
}

function allOf({ pattern, node, after }: Rule, text: string) {
  const found: { start: number; end: number; node: PhrasingContent }[] = [];
  pattern.lastIndex = 0;
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    const start = match.index;
    if (after && !after.test(text.slice(Math.max(0, start - 2), start))) {
      // The sign that closes one pair may open the next.
      pattern.lastIndex = start + 1;
      continue;
    }
    const made = node(match);
    const length = made.type === "link" ? trimmed(match[0]).length : match[0].length;
    found.push({ start, end: start + length, node: made });
  }
  return found;
}

const blocks = new Set(["p", "li", "h1", "h2", "h3", "h4", "h5", "h6", "td", "th", "blockquote"]);

/** Gives each block its own text direction, makes ids unique on the page, and names the boxes of task lists. */
export function accessible(prefix: string) {
  return () => (tree: HastRoot) => {
    const visit = (node: HastRoot | ElementContent) => {
      if (node.type === "element") {
        if (blocks.has(node.tagName)) node.properties.dir = "auto";
        // Footnotes already have the prefix, but the label of their list does not.
        if (node.properties.id === "footnote-label") node.properties.id = `${prefix}footnote-label`;
        if (node.properties.ariaDescribedBy) node.properties.ariaDescribedBy = [`${prefix}footnote-label`];
        if (node.tagName === "li") nameBox(node);
      }
      if ("children" in node) node.children.forEach((child) => visit(child as ElementContent));
    };
    visit(tree);
  };
}

function nameBox(item: Element): void {
  const holder =
    item.children.find((child): child is Element => child.type === "element" && child.tagName === "p") ?? item;
  const box = holder.children.find((child): child is Element => child.type === "element" && child.tagName === "input");
  if (box) box.properties.ariaLabel = textOf(holder).trim();
}

/** The text of an element, without the text of lists inside it. */
function textOf(node: ElementContent): string {
  if (node.type === "text") return node.value;
  if (node.type !== "element" || node.tagName === "ul" || node.tagName === "ol") return "";
  return node.children.map(textOf).join("");
}

const codeOrMath =
  /(^|\n)[ \t]*(```|~~~)[\s\S]*?(?:\n[ \t]*\2|$)|(`+)[\s\S]*?\3|\\\(((?:(?!\n\s*\n)[\s\S])+?)\\\)|\\\[((?:(?!\n\s*\n)[\s\S])+?)\\\]/g;

/** Replaces `\( \)` and `\[ \]` by dollar signs, which the parser knows. `\[escaped brackets\]` stay as they are. */
export function dollars(text: string): string {
  return text.replace(codeOrMath, (whole: string, _lead, _fence, _ticks, inline?: string, display?: string) => {
    const formula = inline ?? display;
    if (formula === undefined || !/[\\^_=]/.test(formula) || formula.includes("$")) return whole;
    return inline !== undefined ? `$${formula.trim()}$` : `\n$$\n${formula.trim()}\n$$\n`;
  });
}
