"use client";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { Live } from "./live";

// Render this in a layout, so that it stays when the reader goes to another page.
export function Providers({ user, children }: { user: { id: number } | null; children: ReactNode }) {
  const [queryClient] = useState(() => new QueryClient());
  return (
    <QueryClientProvider client={queryClient}>
      <Live user={user}>{children}</Live>
    </QueryClientProvider>
  );
}
