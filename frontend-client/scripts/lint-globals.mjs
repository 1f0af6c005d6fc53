/** The globals that Node scripts may use. */
export default { process: "readonly", console: "readonly", URL: "readonly" };
