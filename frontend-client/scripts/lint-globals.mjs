/** What scripts of Node may use without importing it. */
export default { process: "readonly", console: "readonly", URL: "readonly" };
