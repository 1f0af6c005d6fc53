import { cookies } from "next/headers";

/** Stands for the application's own way to know its user: a cookie with the id. */
export async function viewer(): Promise<{ id: number } | null> {
  const id = (await cookies()).get("app_user")?.value;
  return id === undefined ? null : { id: Number(id) };
}
