import type { Metadata, Viewport } from "next";
import type { ReactNode } from "react";
import "katex/dist/katex.min.css";
import "./styles/base.css";
import "./styles/bar.css";
import "./styles/article.css";
import "./styles/thread.css";
import "./styles/prose.css";
import "./styles/forms.css";
import "./styles/narrow.css";
import "./styles/preferences.css";

export const metadata: Metadata = {
  title: "Discussions · SciCommons",
  description: "Live discussions of scientific articles",
};

export const viewport: Viewport = {
  width: "device-width",
  initialScale: 1,
  themeColor: [
    { media: "(prefers-color-scheme: light)", color: "#faf9f6" },
    { media: "(prefers-color-scheme: dark)", color: "#15191c" },
  ],
};

/** No comment can make the page load anything from another host. */
const policy = [
  "default-src 'self'",
  "script-src 'self' 'unsafe-inline'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'self'",
].join("; ");

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <head>
        <meta httpEquiv="Content-Security-Policy" content={policy} />
        <link rel="icon" href="data:," />
      </head>
      <body>{children}</body>
    </html>
  );
}
