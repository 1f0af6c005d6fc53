import { useMutation } from "@tanstack/react-query";
import { isApiError, isTransient } from "../core/api/error.js";
import { callOptions } from "../core/api/request.js";
import * as api from "../core/generated/api.js";
import { keys } from "../core/cache/keys.js";
import type { Operation } from "../core/cache/pending.js";
import { useLiveConnection } from "./provider.js";

type Result = api.Comment | api.Discussion | void;

/** Sends operations: shown at once, tried again while that may help, under one Idempotency-Key. */
export function useSend(): (operation: Operation) => Promise<Result> {
  const { config, pending, queryClient, status, user } = useLiveConnection();
  const { mutateAsync } = useMutation({
    mutationFn: (operation: Operation) => call(operation, config),
    networkMode: "always",
    retry: (failures, error) => failures < 3 && isTransient(error),
    retryDelay: (failures) => Math.random() * Math.min(8_000, 500 * 2 ** failures),
    onMutate: (operation) => pending.add({ ...operation, state: "sending", error: undefined }),
    onSuccess: (result, { key }) => {
      pending.change(key, { state: "confirmed", ...(result ? { result } : {}) } as Partial<Operation>);
      // No event will come soon.
      if (status.get().state !== "live") void queryClient.invalidateQueries({ queryKey: keys.all(user) });
    },
    onError: (error, { key, kind }) => {
      if (kind === "create_comment" || kind === "create_discussion") pending.change(key, { state: "failed", error });
      else pending.remove(key);
    },
  });
  return mutateAsync;
}

async function call(operation: Operation, config: Parameters<typeof callOptions>[0]): Promise<Result> {
  const options = callOptions(config);
  const once = callOptions(config, { headers: { "Idempotency-Key": operation.key } });
  switch (operation.kind) {
    case "create_comment":
      return api.createComment(operation.discussionId, operation.input, once);
    case "create_discussion":
      return api.createDiscussion(operation.articleId, operation.input, once);
    case "update_comment":
      return api.updateComment(operation.id, { text: operation.text }, options);
    case "update_discussion":
      return api.updateDiscussion(operation.id, operation.patch, options);
    case "delete_comment":
      return gone(api.deleteComment(operation.id, options));
    case "delete_discussion":
      return gone(api.deleteDiscussion(operation.id, options));
  }
}

/** Deleting what is deleted is done: the answer to the first try may have been lost. */
async function gone(deletion: Promise<void>): Promise<void> {
  try {
    await deletion;
  } catch (error) {
    if (!isApiError(error, "comment_deleted") && !isApiError(error, "discussion_deleted")) throw error;
  }
}
