"use client";
export { Markdown, type MarkdownProps } from "./markdown.js";
