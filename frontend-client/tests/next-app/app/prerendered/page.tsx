import { discussionsQuery } from "@scicommons/discussions-client/server";
import { dehydrate, HydrationBoundary, QueryClient } from "@tanstack/react-query";
import { Discussions } from "../../../readme/live";
import { Providers } from "../../../readme/providers";

export const dynamic = "force-static";

/** `next build` renders this page, for readers who are not signed in. */
export default async function PrerenderedPage() {
  const queryClient = new QueryClient();
  const config = { baseUrl: process.env.NEXT_PUBLIC_DISCUSSIONS_URL ?? "" };
  await queryClient.prefetchInfiniteQuery(discussionsQuery({ articleId: 1, communityId: 1 }, { config, user: null }));
  return (
    <Providers user={null}>
      <HydrationBoundary state={dehydrate(queryClient)}>
        <Discussions articleId={1} communityId={1} />
      </HydrationBoundary>
    </Providers>
  );
}
