const units: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

const format = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export function ago(time: string, now: number): string {
  const seconds = (now - Date.parse(time)) / 1000;
  for (const [unit, length] of units) if (seconds >= length) return format.format(-Math.floor(seconds / length), unit);
  return "just now";
}

/** A day, such as "3 November 2026". */
export const onDay = (time: string) => new Date(time).toLocaleDateString("en-GB", { dateStyle: "long" });
