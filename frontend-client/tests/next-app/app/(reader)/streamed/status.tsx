"use client";
import { useRealtimeStatus } from "@scicommons/discussions-client/react";

export const Status = () => <p>Status: {useRealtimeStatus().state}</p>;
