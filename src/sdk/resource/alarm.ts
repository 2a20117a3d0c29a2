/**
 * What a verifier's operator has to know. The guard already denies in each of these cases; the alarm says why.
 * `gap` heals by itself with a snapshot; the others mean that somebody or something is lying.
 */
export type AlarmKind =
  | 'gap'
  | 'feed_rollback'
  | 'feed_malformed'
  | 'bundle_forged'
  | 'bundle_rollback'
  /** The broker does not take this verifier's word for who it is. */
  | 'not_registered';

/** `why` is fit for a log: no token, no key, no body. */
export type Alarm = (kind: AlarmKind, why: string) => void;
