import { dehydrate, HydrationBoundary, QueryClient } from "@tanstack/react-query";
import { discussionsQuery } from "@scicommons/discussions-client/server";
import { cookies } from "next/headers";
import { Discussions } from "./live";

export async function Page({
  articleId,
  communityId,
  user,
}: {
  articleId: number;
  communityId: number;
  user: number | null;
}) {
  const queryClient = new QueryClient();
  const headers = { Cookie: (await cookies()).toString() };
  const config = { baseUrl: process.env.NEXT_PUBLIC_DISCUSSIONS_URL ?? "", headers };
  await queryClient.prefetchInfiniteQuery(discussionsQuery({ articleId, communityId }, { config, user }));
  return (
    <HydrationBoundary state={dehydrate(queryClient)}>
      <Discussions articleId={articleId} communityId={communityId} />
    </HydrationBoundary>
  );
}
