import type { ReactNode } from "react";

/** No icon, so that the console has no 404. */
export const metadata = { icons: "data:," };

export default function RootLayout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  );
}
