import type { Access } from "@scicommons/discussions-client/react";
import { Notice } from "./notice";

const reasons = {
  sign_in: "Sign in to read this community.",
  not_a_member: "Only members read this community's discussions.",
  not_found: "There is nothing here, or nothing that you may see.",
};

/** Says why no list is shown or why no events arrive. */
export function AccessNotice({ access, community }: { access: Access; community: string }) {
  if (access.state === "granted") return null;
  if (access.state === "denied") return <Notice text={reasons[access.reason]} />;
  if (access.state === "closed")
    return (
      <Notice text={`${community} is no longer public.`}>
        <span>Only its members can read it now.</span>
      </Notice>
    );
  return (
    <Notice text={`You are no longer a member of ${community}.`}>
      <span>This page has stopped updating.</span>
    </Notice>
  );
}
