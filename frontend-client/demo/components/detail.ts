/** What is beside the list, and the summary above it. Its code has the renderer of texts, which is most of the page's, so it comes on its own. */
export { NewDiscussion } from "./new-discussion";
export { Summary } from "./summary";
export { Thread } from "./thread";
