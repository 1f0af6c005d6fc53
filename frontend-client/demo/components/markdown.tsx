export { Markdown } from "@scicommons/discussions-client/markdown";
