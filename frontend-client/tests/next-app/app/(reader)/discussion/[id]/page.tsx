import { Thread } from "../../../../../readme/write";

export default async function DiscussionPage({ params }: { params: Promise<{ id: string }> }) {
  return <Thread discussionId={Number((await params).id)} />;
}
