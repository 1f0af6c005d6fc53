"use client";
import { useState } from "react";
import { announce } from "../lib/announce";
import { setMembership, type DemoCommunity, type DemoUser } from "../lib/demo-api";

/** Changes memberships, to show what then happens on the page of that member. */
export function Members({ users, communities, me }: { users: DemoUser[]; communities: DemoCommunity[]; me: number }) {
  const [user, setUser] = useState(me);
  const [community, setCommunity] = useState(communities[0]?.id ?? 0);
  const [said, setSaid] = useState("");
  const say = (words: string) => {
    setSaid(words);
    announce(words);
  };
  const change = (role: string | null) => {
    const name = users.find((one) => one.id === user)?.username;
    const place = communities.find((one) => one.id === community)?.name;
    setMembership(user, community, role).then(
      () => say(role ? `${name} is now a member of ${place}.` : `${name} was removed from ${place}.`),
      () => say("That did not work."),
    );
  };
  return (
    <details className="members">
      <summary>Try memberships</summary>
      <div className="panel">
        <p>Remove somebody and watch their page: it stops updating at once, and says why.</p>
        <label>
          Person
          <select value={user} onChange={(event) => setUser(Number(event.target.value))}>
            {users.map((one) => (
              <option key={one.id} value={one.id}>
                {one.username}
              </option>
            ))}
          </select>
        </label>
        <label>
          Community
          <select value={community} onChange={(event) => setCommunity(Number(event.target.value))}>
            {communities.map((one) => (
              <option key={one.id} value={one.id}>
                {one.name}
              </option>
            ))}
          </select>
        </label>
        <div className="row">
          <button type="button" className="quiet" onClick={() => change(null)}>
            Remove
          </button>
          <button type="button" className="quiet" onClick={() => change("member")}>
            Make a member
          </button>
        </div>
        <p className="hint">{said}</p>
      </div>
    </details>
  );
}
