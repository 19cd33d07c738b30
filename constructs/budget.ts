import { Budget } from "../runtime/policy/models/schema.ts";
import { checked } from "./refuse.ts";

/** Most that may be spent, held by the model gateway: it admits no call that could cost more than what is left. */
export interface BudgetProps {
  /**
   * Cap of a calendar day, USD.
   * @default no cap
   */
  readonly usdPerDay?: number;
  /**
   * Cap of a calendar month, USD.
   * @default no cap
   */
  readonly usdPerMonth?: number;
}

/** @throws Refusal for an amount that is none, a token, or an unknown key */
export function budgetOf(path: string, props: BudgetProps = {}): Budget {
  return checked(path, Budget, { usdPerDay: null, usdPerMonth: null, ...props });
}
