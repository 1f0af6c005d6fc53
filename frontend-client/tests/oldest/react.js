/** React 18.2, with `act` where later versions have it. */
export * from "./node_modules/react/index.js";
export { act } from "./node_modules/react-dom/test-utils.js";
