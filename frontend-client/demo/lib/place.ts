import type { ViewerInfo } from "@scicommons/discussions-client";
import { createContext, useContext } from "react";

/** Where a text is written or read, and by whom. */
export interface TextPlace {
  communityId: number;
  articleId: number;
  viewer: ViewerInfo | null;
}

export const PlaceContext = createContext<TextPlace | undefined>(undefined);

export const usePlace = () => useContext(PlaceContext);
