/** Messages between the main thread and the writer. Bodies are JSON text: cheaper to cross than objects. */
import type { RetentionPolicy } from '../ports.ts';
import type { EngineOptions } from './engine.ts';

export type WriterRequest =
  /** `body`: JSON of the groups. */
  | { readonly kind: 'apply'; readonly body: string }
  | { readonly kind: 'prune'; readonly now: number; readonly keep: RetentionPolicy }
  | { readonly kind: 'close' };

export type WriterReply =
  | { readonly kind: 'ready' }
  /** `body`: JSON of the groups' results. */
  | { readonly kind: 'applied'; readonly body: string }
  | { readonly kind: 'pruned'; readonly removed: number }
  | { readonly kind: 'closed' }
  /** The request as a whole failed; nothing of it is stored. */
  | { readonly kind: 'failed'; readonly error: string };

export type WriterStart = EngineOptions;
