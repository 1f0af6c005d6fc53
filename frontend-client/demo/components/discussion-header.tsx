"use client";
import { explain, type DiscussionPatch, type VoteValue } from "@scicommons/discussions-client";
import {
  places,
  type DiscussionItem,
  type ObserveRead,
  type UpdateOptions,
} from "@scicommons/discussions-client/react";
import { useMemo, useState, type RefObject } from "react";
import { announce } from "../lib/announce";
import type { DemoCommunity } from "../lib/demo-api";
import { isDiscarded } from "../lib/discarded";
import { onDay } from "../lib/time";
import { Audience } from "./audience";
import { Byline } from "./byline";
import { Composer } from "./composer";
import { FollowMenu } from "./follow-menu";
import { Markdown } from "./markdown";
import { Failure } from "./notice";
import { VoteButtons } from "./vote-buttons";

export interface DiscussionHeaderProps {
  discussion: DiscussionItem;
  community: DemoCommunity;
  myName: string;
  /** What the user may do. */
  may: { vote: boolean; edit: boolean; resolve: boolean; delete: boolean; follow: boolean };
  heading: RefObject<HTMLHeadingElement | null>;
  update: (id: number, patch: DiscussionPatch, options?: UpdateOptions) => Promise<unknown>;
  remove: (id: number) => Promise<unknown>;
  undo: (key: string) => void;
  vote: (id: number, value: VoteValue) => Promise<unknown>;
  observe: ObserveRead;
}

/** A discussion's topic, text and state, with the buttons that change it. */
export function DiscussionHeader(props: DiscussionHeaderProps) {
  const { discussion, community, myName, may, heading, update, remove, undo, vote, observe } = props;
  const [editing, setEditing] = useState(false);
  const [failure, setFailure] = useState<string>();
  /** Returns the focus to the discussion, because its field or button disappears. */
  const toHeading = () => heading.current?.focus({ preventScroll: true });
  const attempt = (promise: Promise<unknown>, done?: string) => {
    setFailure(undefined);
    promise.then(
      () => done && announce(done),
      (error: unknown) => {
        if (!isDiscarded(error)) setFailure(`The change was not saved: ${explain(error)}`);
      },
    );
  };
  const thing = useMemo(() => ({ discussionId: discussion.id }), [discussion.id]);
  const hasVotes = discussion.upvotes + discussion.downvotes > 0;
  const close = () => {
    setEditing(false);
    toHeading();
  };
  return (
    <header ref={discussion.is_unread ? observe() : undefined}>
      <p className="eyebrow">
        <span>{community.name}</span>
        <Audience community={community} />
      </p>
      <h2 id="thread-topic" ref={heading} tabIndex={-1} dir="auto">
        {discussion.topic ?? "Deleted discussion"}
      </h2>
      <Resolution discussion={discussion} />
      {discussion.deleted_at === null ? (
        <>
          <Byline
            {...discussion}
            myName={myName}
            created={discussion.created_at}
            edited={discussion.edited_at}
            unread={discussion.is_unread === true}
          />
          {editing ? (
            <Composer
              place={places.editDiscussion(discussion.id)}
              label="Text"
              action="Save"
              withTopic
              focus
              wait
              initialTopic={discussion.topic ?? ""}
              initialText={discussion.text ?? ""}
              updatedAt={discussion.updated_at}
              onCancel={close}
              onSend={(text, topic, _key, from) => update(discussion.id, { topic, text }, { from })}
              onSent={() => {
                close();
                announce("Saved");
              }}
            />
          ) : (
            <Markdown text={discussion.text ?? ""} mentions={discussion.mentions} />
          )}
          {!editing && (may.vote || may.resolve || may.edit || may.delete || may.follow || hasVotes) && (
            <div className="actions">
              <VoteButtons
                {...discussion}
                what="the discussion"
                onVote={may.vote ? (value) => attempt(vote(discussion.id, value)) : undefined}
              />
              {may.resolve && (
                <button
                  type="button"
                  className="link"
                  aria-label={discussion.is_resolved ? "Reopen the discussion" : "Mark as resolved"}
                  onClick={() =>
                    attempt(
                      update(discussion.id, { is_resolved: !discussion.is_resolved }),
                      discussion.is_resolved ? "The discussion is open again" : "The discussion is resolved",
                    )
                  }
                >
                  {discussion.is_resolved ? "Reopen" : "Mark as resolved"}
                </button>
              )}
              {may.edit && (
                <button
                  type="button"
                  className="link"
                  aria-label="Edit the discussion"
                  onClick={() => setEditing(true)}
                >
                  Edit
                </button>
              )}
              {may.delete && (
                <button
                  type="button"
                  className="link"
                  aria-label="Delete the discussion"
                  onClick={() => {
                    toHeading();
                    announce("Discussion deleted. It can be undone for some seconds.");
                    attempt(remove(discussion.id));
                  }}
                >
                  Delete
                </button>
              )}
              {may.follow && <FollowMenu thing={thing} what="the discussion" />}
            </div>
          )}
        </>
      ) : (
        <p className="muted gone">
          This discussion was deleted. Its comments stay readable.{" "}
          {discussion.undo && (
            <button
              type="button"
              className="link"
              aria-label="Undo the deletion of the discussion"
              onClick={() => {
                undo(discussion.undo ?? "");
                toHeading();
                announce("The discussion is back");
              }}
            >
              Undo
            </button>
          )}
        </p>
      )}
      {failure && <Failure text={failure} />}
    </header>
  );
}

/** Who resolved the discussion, and when. */
function Resolution({ discussion }: { discussion: DiscussionItem }) {
  const { is_resolved, resolved_by, resolved_at } = discussion;
  if (!is_resolved) return null;
  return (
    <p className="resolution">
      <span className="resolved">Resolved</span>
      {resolved_by && (
        <>
          {" by "}
          <bdi>{resolved_by.username}</bdi>
        </>
      )}
      {resolved_at && (
        <>
          {" on "}
          <time dateTime={resolved_at} title={new Date(resolved_at).toLocaleString("en-GB")}>
            {onDay(resolved_at)}
          </time>
        </>
      )}
    </p>
  );
}
