import ReactMarkdown from "react-markdown";
import rehypeSanitize from "rehype-sanitize";
import remarkGfm from "remark-gfm";

/** Markdown as people write it. HTML in it is shown as text, links lead only where links may, and images are links. */
export function Markdown({ text }: { text: string }) {
  return (
    <div className="prose">
      <ReactMarkdown
        remarkPlugins={[remarkGfm]}
        rehypePlugins={[rehypeSanitize]}
        components={{
          a: ({ href, children }) => (
            <a href={href} rel="nofollow noopener noreferrer">
              {children}
            </a>
          ),
          // An image would be loaded from where its author wants.
          img: ({ src, alt }) => (
            <a href={typeof src === "string" ? src : undefined} rel="nofollow noopener noreferrer">
              {alt || "image"}
            </a>
          ),
          // A comment's headings stand below the page's.
          h1: ({ children }) => <p className="heading">{children}</p>,
          h2: ({ children }) => <p className="heading">{children}</p>,
          h3: ({ children }) => <p className="heading">{children}</p>,
          h4: ({ children }) => <p className="heading">{children}</p>,
          h5: ({ children }) => <p className="heading">{children}</p>,
          h6: ({ children }) => <p className="heading">{children}</p>,
        }}
      >
        {text}
      </ReactMarkdown>
    </div>
  );
}
