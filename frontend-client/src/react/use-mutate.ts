"use client";
import { useMutation } from "@tanstack/react-query";
import { useCallback } from "react";
import { DiscardedError } from "../core/cache/outbox.js";

export interface MutateOptions<R> {
  onSuccess?: (result: R) => void;
  /** Called when the server refuses it. */
  onError?: (error: Error) => void;
}

/** `mutate` calls the function and never throws. `isPending` and `error` tell of the last call. */
export interface Mutate<A extends unknown[]> {
  mutate: (...args: A) => void;
  isPending: boolean;
  error: Error | null;
  /** Forgets the last call's error. */
  reset: () => void;
}

/**
 * Wraps a function that writes, such as `create`, `update`, `remove` or `retry`. What the user discards or undoes themselves is
 * no error.
 */
export function useMutate<A extends unknown[], R>(
  write: (...args: A) => Promise<R>,
  { onSuccess, onError }: MutateOptions<R> = {},
): Mutate<A> {
  const { mutate, isPending, error, reset } = useMutation<R, Error, A>({
    mutationFn: (args) => write(...args),
    // The outbox waits for the server. The item must show at once, so TanStack Query must not wait too.
    networkMode: "always",
    retry: false,
    onSuccess: (result) => onSuccess?.(result),
    onError: (reason) => {
      if (!(reason instanceof DiscardedError)) onError?.(reason);
    },
  });
  const call = useCallback((...args: A) => mutate(args), [mutate]);
  return { mutate: call, isPending, error: error instanceof DiscardedError ? null : error, reset };
}
