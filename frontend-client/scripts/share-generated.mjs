// orval repeats the types and functions of the API in the file of the hooks. This script removes them there and imports them
// from the core's file instead.
import { readFileSync, writeFileSync } from "node:fs";
import ts from "typescript";

const core = "src/core/generated/api.ts";
const hooks = "src/react/generated/query.ts";

const parse = (path) => ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest, true);

/** The names that a statement exports, and whether each is only a type. */
function exported(statement) {
  if (!statement.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)) return [];
  if (ts.isVariableStatement(statement))
    return statement.declarationList.declarations.map(({ name }) => [name.text, false]);
  return statement.name
    ? [[statement.name.text, ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement)]]
    : [];
}

const shared = new Map();
for (const statement of parse(core).statements) {
  for (const [name, isType] of exported(statement)) shared.set(name, (shared.get(name) ?? true) && isType);
}

const file = parse(hooks);
const text = file.getFullText();
const kept = [];
const dropped = new Set();
for (const statement of file.statements) {
  const names = exported(statement).map(([name]) => name);
  if (names.length > 0 && names.every((name) => shared.has(name))) names.forEach((name) => dropped.add(name));
  else kept.push(text.slice(statement.getFullStart(), statement.getEnd()));
}
const rest = kept.join("");
// A comment that has the name does not use it.
const code = rest.replace(/\/\*[\s\S]*?\*\//g, "");
const used = [...dropped].filter((name) => new RegExp(`\\b${name}\\b`).test(code)).sort();
const line = (type) => {
  const names = used.filter((name) => shared.get(name) === type);
  return names.length > 0
    ? `import ${type ? "type " : ""}{\n  ${names.join(",\n  ")},\n} from "../../core/generated/api.js";\n`
    : "";
};
const at = rest.lastIndexOf("from '", rest.indexOf("request.js'"));
const end = rest.indexOf(";", at) + 1;
writeFileSync(hooks, `${rest.slice(0, end)}\n${line(true)}${line(false)}${rest.slice(end)}\n`);
