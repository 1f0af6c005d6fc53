import { Suspense } from "react";
import { Page } from "../../../../readme/server";
import { viewer } from "../../viewer";
import { Status } from "./status";

/** The layout is sent at once. The list is rendered, and sent when the test's gate answers. */
export default function StreamedPage() {
  return (
    <Suspense fallback={<p>Loading</p>}>
      <Late />
    </Suspense>
  );
}

async function Late() {
  const user = await viewer();
  const list = await Page({ articleId: 1, communityId: 1, user: user?.id ?? null });
  await fetch(process.env["GATE_URL"] ?? "", { cache: "no-store" });
  return (
    <>
      <Status />
      {list}
    </>
  );
}
