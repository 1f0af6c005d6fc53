import { QueryClient, QueryClientProvider, notifyManager } from "@tanstack/react-query";
import { act, StrictMode, type ReactNode } from "react";
import { createRoot, type Root } from "react-dom/client";
import type { ApiConfig } from "../../src/index.js";
import { RealtimeProvider, type RealtimeProviderProps, type User } from "../../src/react/index.js";
import { FakeBrowser, settle } from "./fake-environment.js";
import { FakeServer } from "./fake-server.js";

(globalThis as never as { IS_REACT_ACT_ENVIRONMENT: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

// By default TanStack Query notifies by a timer, for which `settle` cannot wait.
notifyManager.setScheduler(queueMicrotask);

/** A page of the application: `children` below a provider, with a server and a browser. */
export class TestPage {
  constructor(
    readonly server = new FakeServer(),
    readonly browser = new FakeBrowser(),
  ) {}

  readonly queryClient = new QueryClient();
  readonly #root: Root = createRoot(document.createElement("div"));

  async show(
    children: ReactNode,
    user: User = 1,
    config: ApiConfig = {},
    props: Partial<RealtimeProviderProps> = {},
  ): Promise<void> {
    const options = { environment: this.browser.tab().environment() };
    const token = user === null ? null : `user-${user}`;
    await act(async () =>
      this.#root.render(
        <StrictMode>
          <QueryClientProvider client={this.queryClient}>
            <RealtimeProvider
              config={{ fetch: this.server.fetch, token, ...config }}
              user={user}
              options={options}
              {...props}
            >
              {children}
            </RealtimeProvider>
          </QueryClientProvider>
        </StrictMode>,
      ),
    );
    await this.settle();
  }

  /** Takes the provider and everything below it off the page. The query cache stays. */
  async hide(): Promise<void> {
    await act(async () => this.#root.render(null));
    await this.settle();
  }

  settle(): Promise<void> {
    return act(settle);
  }

  async close(): Promise<void> {
    await act(async () => this.#root.unmount());
    await this.settle();
    this.queryClient.clear();
  }
}
