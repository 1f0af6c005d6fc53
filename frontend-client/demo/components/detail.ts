/** What is beside the list. Its code has the renderer of texts, which is most of the page's, so it comes on its own. */
export { NewDiscussion } from "./new-discussion";
export { Thread } from "./thread";
