import Link from "next/link";
import type { ReactNode } from "react";
import { Providers } from "../../../readme/providers";
import { viewer } from "../viewer";

export default async function ReaderLayout({ children }: { children: ReactNode }) {
  return (
    <Providers user={await viewer()}>
      <nav>
        <Link href="/community/1">Open community</Link> <Link href="/community/2">Replication lab</Link>
      </nav>
      {children}
    </Providers>
  );
}
