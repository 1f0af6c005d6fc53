import { Page } from "../../../../../readme/server";
import { viewer } from "../../../viewer";

export default async function CommunityPage({ params }: { params: Promise<{ id: string }> }) {
  const user = await viewer();
  return <Page articleId={1} communityId={Number((await params).id)} user={user?.id ?? null} />;
}
