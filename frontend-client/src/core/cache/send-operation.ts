import type { ApiConfig } from "../api/config.js";
import { isApiError } from "../api/error.js";
import { callOptions } from "../api/request.js";
import * as api from "../generated/api.js";
import { trimmed } from "../text.js";
import { etagOf } from "../version.js";
import { places } from "./drafts.js";
import type { Operation, ReadOperation, SummaryDeletion, SummaryText, Version } from "./pending.js";

export type SendResult = api.Comment | api.Discussion | api.Summary | api.Votes | api.Follow | void;

/** What the user has certainly written. Its author is the user. */
export type OwnText = api.Comment | api.Discussion;

/**
 * Makes the API call of an operation. `onWritten` is called with a text that this call wrote. Other answers may be what somebody else
 * wrote: a moderator resolves the discussions of others. A summary gives nobody a pseudonym.
 */
export async function call(
  operation: Operation,
  config: ApiConfig,
  onWritten: (text: OwnText) => void,
): Promise<SendResult> {
  const written = <T extends OwnText>(text: T): T => {
    onWritten(text);
    return text;
  };
  const options = callOptions(config);
  const once = callOptions(config, { headers: { "Idempotency-Key": operation.key } });
  switch (operation.kind) {
    case "create_comment":
      return written(await api.createComment(operation.discussionId, operation.input, once));
    case "create_discussion":
      return written(await api.createDiscussion(operation.articleId, operation.input, once));
    case "update_comment":
      return save({ text: operation.text }, operation.from, (change) =>
        api.updateComment(operation.id, change, options),
      );
    case "update_discussion":
      return save(operation.patch, operation.from, (change) => api.updateDiscussion(operation.id, change, options));
    // With `keepalive` the browser sends it even if the page is left.
    case "delete_comment":
      return gone(api.deleteComment(operation.id, callOptions(config, { keepalive: true })));
    case "vote_comment":
      return api.voteOnComment(operation.id, { value: operation.value }, options);
    case "vote_discussion":
      return api.voteOnDiscussion(operation.id, { value: operation.value }, options);
    case "follow_discussion":
      return api.followDiscussion(operation.id, { level: operation.value }, options);
    case "follow_article":
      return api.followArticle(operation.id, { community_id: operation.communityId, level: operation.value }, options);
    case "read_notifications":
      return markNotificationsRead(operation, options);
    case "write_summary":
      return writeSummary(operation, config);
    case "delete_summary":
      return deleteSummary(operation, config);
    case "delete_discussion":
      return gone(api.deleteDiscussion(operation.id, callOptions(config, { keepalive: true })));
  }
}

/** Writes a summary in place of the version that the user began with, or of none. */
function writeSummary({ articleId, communityId, text, from }: SummaryText, config: ApiConfig): Promise<api.Summary> {
  const headers: HeadersInit = from === null ? { "If-None-Match": "*" } : {};
  const options = callOptions(config, { headers });
  const send = (change: api.NewSummary) => api.putSummary(articleId, change, { community_id: communityId }, options);
  if (from) return save({ text }, from, send);
  return send({ text }).catch((error: unknown) => {
    const current = isApiError(error, "changed_meanwhile") ? (error.current as api.Summary | undefined) : undefined;
    // The answer to an earlier attempt was lost.
    if (current && agree(current, { text }, { text })) return current;
    throw error;
  });
}

/** Deletes the summary that the user saw. If another text is there, the user must decide. */
async function deleteSummary({ articleId, communityId, from }: SummaryDeletion, config: ApiConfig): Promise<void> {
  for (let version = from?.updated_at; ;) {
    const headers: HeadersInit = version === undefined ? {} : { "If-Match": etagOf(version) };
    try {
      const options = callOptions(config, { headers, keepalive: true });
      return await api.deleteSummary(articleId, { community_id: communityId }, options);
    } catch (error) {
      // The answer to an earlier attempt was lost, or somebody else has deleted it.
      if (isApiError(error, "summary_not_found")) return;
      const current = isApiError(error, "changed_meanwhile") ? (error.current as api.Summary | undefined) : undefined;
      // The user's own text that was still being saved has another version by now.
      if (!from || !current || current.updated_at === version || !agree(current, from, { text: "" })) throw error;
      version = current.updated_at;
    }
  }
}

/**
 * Saves a change of the version that the user began with. If another version is there, the user must decide, unless its texts are
 * the ones that the user began with, as when somebody resolved the discussion, or the ones to save: then the answer to an earlier
 * attempt was lost.
 */
async function save<C extends Texts, T extends Texts & { updated_at: string }>(
  change: C,
  from: Version | undefined,
  send: (change: C & { if_updated_at?: string }) => Promise<T>,
): Promise<T> {
  if (!from) return send(change);
  for (let version = from.updated_at; ;) {
    try {
      return await send({ ...change, if_updated_at: version });
    } catch (error) {
      const current = isApiError(error, "changed_meanwhile") ? (error.current as T | undefined) : undefined;
      if (!current) throw error;
      if (agree(current, change, change)) return current;
      if (!agree(current, from, change) || current.updated_at === version) throw error;
      version = current.updated_at;
    }
  }
}

type Texts = { topic?: string | null; text?: string | null };

/** Whether two have the same text and topic, as far as `change` changes them. */
function agree(a: Texts, b: Texts, change: Texts): boolean {
  const names = (["topic", "text"] as const).filter((name) => typeof change[name] === "string");
  return names.length > 0 && names.every((name) => trimmed(a[name] ?? "") === trimmed(b[name] ?? ""));
}

/** The most ids of a request. */
const MOST_IDS = 100;

/** Marks add up, so one that was sent already does no harm. */
async function markNotificationsRead({ ids, upTo }: ReadOperation, options: RequestInit): Promise<void> {
  if (upTo > 0) await api.markNotificationsRead({ up_to_id: upTo }, options);
  const newer = ids.filter((id) => id > upTo);
  for (let at = 0; at < newer.length; at += MOST_IDS)
    await api.markNotificationsRead({ ids: newer.slice(at, at + MOST_IDS) }, options);
}

/** An item that is already deleted counts as success, because the answer to the first attempt may have been lost. */
async function gone(deletion: Promise<void>): Promise<void> {
  try {
    await deletion;
  } catch (error) {
    if (!isApiError(error, "comment_deleted") && !isApiError(error, "discussion_deleted")) throw error;
  }
}

/** The text of an edit and the place where it is written. */
export function editedText(operation: Operation): { place: string; text: string; topic?: string } | undefined {
  if (operation.kind === "update_comment") return { place: places.editComment(operation.id), text: operation.text };
  if (operation.kind === "write_summary")
    return { place: places.summary(operation.articleId, operation.communityId), text: operation.text };
  if (operation.kind !== "update_discussion") return undefined;
  const { topic, text } = operation.patch;
  const from = operation.from;
  const words = { topic: topic ?? from?.topic ?? "", text: text ?? from?.text ?? "" };
  const isEdit = typeof topic === "string" || typeof text === "string";
  return isEdit ? { place: places.editDiscussion(operation.id), ...words } : undefined;
}
