import js from "@eslint/js";
import jsxA11y from "eslint-plugin-jsx-a11y";
import reactHooks from "eslint-plugin-react-hooks";
import globals from "./scripts/lint-globals.mjs";
import tseslint from "typescript-eslint";

/** Features that the oldest supported browsers lack (README.md, "Browsers"). The `lib` of tsconfig.build.json excludes the others. */
const tooYoung = [
  "with",
  "toSpliced",
  "toSorted",
  "toReversed",
  "findLast",
  "findLastIndex",
  "at",
  "throwIfAborted",
  "hasOwn",
  "groupBy",
  "withResolvers",
];

export default tseslint.config(
  { ignores: ["**/node_modules/", "**/dist/", "**/out/", "**/.next/", "**/generated/", "**/next-env.d.ts"] },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "no-console": "error",
      eqeqeq: "error",
    },
  },
  { files: ["**/*.{tsx,ts}"], plugins: { "react-hooks": reactHooks }, rules: reactHooks.configs.recommended.rules },
  {
    files: ["src/**/*.{ts,tsx}"],
    rules: {
      "no-restricted-syntax": [
        "error",
        {
          selector: `CallExpression[callee.property.name=/^(${tooYoung.join("|")})$/]`,
          message: "Not in every browser that the package supports.",
        },
        {
          selector: "CallExpression[callee.object.name='AbortSignal']",
          message: "AbortSignal.any and .timeout are not in every browser.",
        },
      ],
    },
  },
  {
    files: ["src/core/**/*.ts", "src/index.ts", "src/server.ts"],
    rules: {
      "@typescript-eslint/no-restricted-imports": [
        "error",
        {
          paths: [
            { name: "react", message: "The core has no React." },
            { name: "@tanstack/react-query", message: "The core takes types alone from it.", allowTypeImports: true },
          ],
          patterns: [{ group: ["**/react/*"], message: "The core must not import from react." }],
        },
      ],
    },
  },
  { files: ["demo/**/*.tsx", "src/**/*.tsx"], ...jsxA11y.flatConfigs.recommended },
  { files: ["**/*.mjs", "*.config.{js,ts}"], languageOptions: { globals } },
  { files: ["tests/**/*.{ts,tsx}"], rules: { "react-hooks/globals": "off", "react-hooks/immutability": "off" } },
);
