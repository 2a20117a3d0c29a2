/** What is left of a mission's limits, for people. */
import { table } from './terminal.ts';

interface Counted {
  readonly max: number | string;
  readonly left: number | string;
  readonly currency?: string;
  readonly audiences?: readonly { readonly audience: string; readonly held: number; readonly left: number }[];
}

/** One row for the whole of each limit, and one for each audience that had something of it. */
export function limitsTable(limits: Readonly<Record<string, Counted>>): string {
  const rows = Object.entries(limits).flatMap(([control, { max, left, currency, audiences = [] }]) => {
    const unit = currency === undefined ? '' : ` ${currency}`;
    return [
      [control, 'all', `${max}${unit}`, '', `${left}${unit}`],
      ...audiences.map((one) => ['', one.audience, '', String(one.held), String(one.left)]),
    ];
  });
  return rows.length === 0 ? 'no limits\n' : table(['LIMIT', 'AUDIENCE', 'MAX', 'HELD', 'LEFT'], rows);
}
