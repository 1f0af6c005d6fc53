/** A dot beside something unread. It takes no room, so that nothing moves when it goes. */
export function UnreadDot() {
  return (
    <span className="unread-dot">
      <span className="visually-hidden">Unread </span>
    </span>
  );
}
