/** The entity tag that the server gives a version: its microseconds since 1970, which `Date` does not have. */
export function etagOf(updatedAt: string): string {
  const fraction = /\.(\d+)/.exec(updatedAt)?.[1] ?? "";
  const micros = Number(fraction.slice(0, 6).padEnd(6, "0"));
  return `"${Date.parse(updatedAt.replace(/\.\d+/, "")) * 1000 + micros}"`;
}
