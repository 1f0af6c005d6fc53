"use client";
import katex from "katex";
import { Component, memo, useId, useRef, useState, type ComponentProps, type ReactNode } from "react";
import ReactMarkdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";
import remarkMath from "remark-math";
import type { Author, ViewerInfo } from "../core/generated/api.js";
import { handleOf } from "../core/mentions.js";
import { isMine } from "../core/viewer.js";
import { nestsTooDeep } from "./limits.js";
import { mentioned, type Mention } from "./mentions.js";
import { accessible, dollars, noHtml, scientific } from "./tree.js";

export interface MarkdownProps {
  /** The Markdown text. */
  text: string;
  className?: string;
  /** Whom the text mentions: `mentions` of a comment or discussion. Those of the viewer stand out. */
  mentions?: readonly Author[];
  /** Who reads it. */
  viewer?: ViewerInfo | null;
}

/**
 * Renders Markdown as scientists write it: formulas, sub- and superscripts, tables, task lists, footnotes, code, and DOI, PMID and
 * arXiv references. `<` and `>` are shown as typed, and HTML is shown as text. No text can load anything or run a script. A
 * text that cannot be rendered is shown as it was typed.
 */
export const Markdown = memo(function Markdown({ text, className = "prose", mentions, viewer = null }: MarkdownProps) {
  const people = mentions?.map((one) => ({ handle: handleOf(one), mine: isMine(one, viewer) })) ?? nobody;
  return (
    <div className={className}>
      <PlainOnError key={text} text={text}>
        {nestsTooDeep(text) ? <Plain text={text} /> : <Rendered text={text} people={people} />}
      </PlainOnError>
    </div>
  );
});

const nobody: Mention[] = [];

function Rendered({ text, people }: { text: string; people: readonly Mention[] }) {
  const prefix = `${useId().replace(/[^\w-]/g, "")}-`;
  return (
    <ReactMarkdown
      remarkPlugins={[noHtml, [remarkGfm, { singleTilde: false }], remarkMath, scientific, [mentioned, people]]}
      rehypePlugins={[accessible(prefix)]}
      remarkRehypeOptions={{ clobberPrefix: prefix }}
      components={components}
    >
      {dollars(text)}
    </ReactMarkdown>
  );
}

function Plain({ text }: { text: string }) {
  return (
    <p dir="auto" style={{ whiteSpace: "pre-wrap" }}>
      {text}
    </p>
  );
}

class PlainOnError extends Component<{ text: string; children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  override render() {
    return this.state.failed ? <Plain text={this.props.text} /> : this.props.children;
  }
}

/** Headings of a text are not headings of the page, so they are paragraphs. */
function Heading({ children, id, dir, className }: ComponentProps<"p">) {
  return (
    <p id={id} dir={dir} className={className === "sr-only" ? "visually-hidden" : "heading"}>
      {children}
    </p>
  );
}

function Formula({ tex, display }: { tex: string; display: boolean }) {
  const options = {
    displayMode: display,
    throwOnError: false,
    strict: false,
    trust: false,
    maxExpand: 200,
    maxSize: 20,
  } as const;
  const html = katex.renderToString(tex, options);
  return <span dir="ltr" className={display ? "formula" : undefined} dangerouslySetInnerHTML={{ __html: html }} />;
}

function Code({ children }: { children?: ReactNode }) {
  const pre = useRef<HTMLPreElement>(null);
  const [copied, setCopied] = useState(false);
  const code = children as { props?: { className?: string } } | undefined;
  const language = /language-([\w+#-]+)/.exec(code?.props?.className ?? "")?.[1];
  const copy = async () => {
    await navigator.clipboard.writeText(pre.current?.textContent ?? "");
    setCopied(true);
  };
  return (
    <figure className="code" aria-label={language ? `Code, ${language}` : "Code"}>
      <figcaption>
        <span>{language ?? "Code"}</span>
        <button
          type="button"
          className="link"
          onClick={() => void copy().catch(() => undefined)}
          onBlur={() => setCopied(false)}
        >
          {copied ? "Copied" : "Copy"}
        </button>
      </figcaption>
      {/* A wide block scrolls, so the keyboard must be able to focus it. */}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <pre ref={pre} dir="ltr" tabIndex={0}>
        {children}
      </pre>
    </figure>
  );
}

const components: Components = {
  a: ({ href, children, id, "aria-label": label, "aria-describedby": describedBy }) =>
    href ? (
      <a id={id} href={href} rel="nofollow noopener noreferrer" aria-label={label} aria-describedby={describedBy}>
        {children}
      </a>
    ) : (
      <span>{children}</span>
    ),
  // An image would load from any server that the author chooses, so it becomes a link.
  img: ({ src, alt }) =>
    typeof src === "string" && src !== "" ? (
      <a href={src} rel="nofollow noopener noreferrer">
        {alt || "image"}
      </a>
    ) : (
      <span>{alt}</span>
    ),
  h1: Heading,
  h2: Heading,
  h3: Heading,
  h4: Heading,
  h5: Heading,
  h6: Heading,
  table: ({ children }) => (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
    <div className="table" role="group" aria-label="Table" tabIndex={0}>
      <table>{children}</table>
    </div>
  ),
  pre: ({ children }) => {
    const inner = children as { props?: { className?: string; children?: unknown } } | undefined;
    if (/\bmath-display\b/.test(inner?.props?.className ?? ""))
      return <Formula display tex={String(inner?.props?.children ?? "")} />;
    return <Code>{children}</Code>;
  },
  code: ({ className, children }) => {
    if (/\bmath-inline\b/.test(className ?? "")) return <Formula display={false} tex={String(children)} />;
    if (/\bmath-display\b/.test(className ?? "")) return <Formula display tex={String(children)} />;
    return (
      <code className={className} dir="ltr">
        {children}
      </code>
    );
  },
};
