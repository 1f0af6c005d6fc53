"use client";
import { useCallback, useRef } from "react";
import { shortcuts, switchShortcuts, useShortcuts, useShortcutsOn } from "../lib/shortcuts";

/** A button that shows the keyboard shortcuts and lets the user switch them off. */
export function Shortcuts() {
  const dialog = useRef<HTMLDialogElement>(null);
  const on = useShortcutsOn();
  const show = useCallback(() => dialog.current?.showModal(), []);
  useShortcuts(show);
  return (
    <>
      <button type="button" className="link keys" aria-haspopup="dialog" onClick={show}>
        Shortcuts
      </button>
      <dialog ref={dialog} aria-labelledby="shortcuts-title">
        <h2 id="shortcuts-title">Keyboard shortcuts</h2>
        <dl>
          {shortcuts.map(({ key, does }) => (
            <div key={key}>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{does}</dd>
            </div>
          ))}
        </dl>
        <label>
          <input type="checkbox" checked={on} onChange={(event) => switchShortcuts(event.target.checked)} /> Use these
          shortcuts
        </label>
        <form method="dialog">
          <button type="submit" className="quiet">
            Close
          </button>
        </form>
      </dialog>
    </>
  );
}
