/** What the store is told to do: data, applied a group at a time. */
import type { LearnedDestination } from '../behaviour/history.ts';
import type { Containment } from '../domain/authority/index.ts';
import type { CountedControl } from '../domain/limits.ts';
import type { Mission, MissionEvent, MissionState } from '../domain/mission.ts';
import type { FeedEntry } from '../domain/revocation.ts';
import type { Credit, OpenAllotment } from '../domain/settlement.ts';
import type {
  AdminTokenRecord,
  AuditRecord,
  BlockRecord,
  CredentialRecord,
  EnrolledKeyRecord,
  LeaseRecord,
  LeaseState,
  ReportRecord,
  Selector,
  SigningKeyRecord,
  TemplateRecord,
  VerifierInstance,
} from './records.ts';

/** Missions that a bulk write selects. */
export interface MissionSelection {
  readonly selector: Selector;
  /** With `tree`, descendants of the selected missions as well (state `cascaded`). */
  readonly states: readonly MissionState[];
}

/**
 * Writes are data. `atomically` applies a group in one transaction: each write touches exactly the rows it
 * says, or the whole group rolls back and the named {@link Conflict} is answered.
 */
export type Write =
  /** Its `derivations` count against every mission above it too (conflict `derivations_exhausted`). */
  | { readonly kind: 'insert_mission'; readonly mission: Mission }
  /** Conflict `mission_not_active` unless stored active, unexpired at `at`, and (where given) at `version`. */
  | { readonly kind: 'require_active'; readonly id: string; readonly at: number; readonly version?: number }
  /**
   * A renewal: bumps `derivations`, also of every mission above that has a limit of them (conflict
   * `derivations_exhausted`), and, with evidence, `last_attested_at`.
   */
  | {
      readonly kind: 'derive';
      readonly id: string;
      readonly at: number;
      readonly version: number;
      readonly attested: boolean;
    }
  /**
   * One lifecycle step of one mission: `version + 1`, children cascaded when it ends. Conflicts
   * `mission_not_found`, `wrong_state`, `wrong_version`.
   */
  | {
      readonly kind: 'transition';
      readonly id: string;
      readonly event: MissionEvent;
      readonly at: number;
      readonly reason: string;
      readonly expected_version?: number;
    }
  /**
   * The same for every live mission that matches; touches any number of rows, or at most `limit` selected ones
   * (repeat until nothing changes), so that a huge bulk does not hold up other writes.
   */
  | {
      readonly kind: 'transition_all';
      /** `issuer`: every mission there is, as after a restored backup. */
      readonly selector: Selector | { readonly kind: 'issuer'; readonly key: string };
      readonly event: MissionEvent;
      readonly at: number;
      readonly reason: string;
      readonly limit?: number;
    }
  /** Replaces the overlay, bumps the version. Conflict `wrong_version`, `wrong_state`. */
  | {
      readonly kind: 'contain';
      readonly id: string;
      readonly at: number;
      readonly expected_version: number;
      readonly containments: readonly Containment[];
      readonly expires_at: number;
    }
  /**
   * The mission has taken in untrusted content: it, and from then on every mission that its instance declares, is
   * tainted (wire profile 2.6). One that is tainted already stays as it is; one that was pruned
   * is no news.
   */
  | { readonly kind: 'taint'; readonly id: string }
  /**
   * Takes an amount out of a counted limit of a mission, for one audience: an allotment in the group that records its
   * token, or what the broker counts itself. What came back from that audience is taken first. Conflict
   * `limit_exhausted` where less than `amount` is left, `mission_not_found`.
   */
  | {
      readonly kind: 'reserve_allotment';
      readonly mission_id: string;
      readonly control: CountedControl;
      readonly audience: string;
      /** The whole limit; counts when the first allotment is reserved. */
      readonly max: number;
      /** At least 1. */
      readonly amount: number;
    }
  /** What a token carries, open for settlement from then on. Conflict `mission_not_found`, `duplicate`. */
  | {
      readonly kind: 'insert_allotment';
      readonly mission_id: string;
      readonly audience: string;
      readonly allotment: OpenAllotment & { readonly issued_at: number };
    }
  /**
   * One run's word on allotments of its audience: each is credited at most once for each of its processes, and never
   * more than it had. Those that are settled or gone already are left out. Conflict `repeated` if the run has spoken of
   * anything after `from` before.
   */
  | {
      readonly kind: 'settle_allotments';
      readonly verifier_id: string;
      readonly audience: string;
      readonly run_id: string;
      readonly from: number;
      readonly through: number;
      readonly at: number;
      readonly credits: readonly Credit[];
    }
  /** Conflict `limit_exhausted` where the budget has less left; an amount that is no decimal is an error. */
  | {
      readonly kind: 'spend_budget';
      readonly mission_id: string;
      readonly currency: string;
      /** The whole budget; counts when the first amount is spent. */
      readonly max: string;
      readonly amount: string;
    }
  | { readonly kind: 'insert_credential'; readonly credential: CredentialRecord }
  | { readonly kind: 'revoke_credential'; readonly id: string; readonly at: number }
  /** Before its credential exists. Conflict `duplicate`. */
  | { readonly kind: 'insert_lease'; readonly lease: LeaseRecord }
  /**
   * Conflict `wrong_version` unless exactly these leases of the mission are pending or live: who else makes or
   * replaces credentials of it was looked at, and nobody came since.
   */
  | { readonly kind: 'require_open_leases'; readonly mission_id: string; readonly ids: readonly string[] }
  /** Conflict `wrong_state` unless it is in one of the states `from`. Members left out stay as they are. */
  | {
      readonly kind: 'update_lease';
      readonly id: string;
      readonly from: readonly LeaseState[];
      readonly set: Partial<
        Pick<
          LeaseRecord,
          'state' | 'revocation' | 'expires_at' | 'next_at' | 'attempts' | 'last_error' | 'ended_at'
        >
      >;
    }
  /** Reusable evidence belongs to its first `max_keys` keys. Conflict `evidence_pinned`. */
  | {
      readonly kind: 'pin_evidence';
      readonly digest: string;
      readonly jkt: string;
      readonly max_keys: number;
      readonly expires_at: number;
    }
  /** Conflict `replayed` if (space, id) was used before. */
  | { readonly kind: 'use_once'; readonly space: string; readonly id: string; readonly expires_at: number }
  /** Conflict `max_active_reached` if the template already has `max` live missions. Precedes insert_mission. */
  | {
      readonly kind: 'require_active_below';
      readonly template_id: string;
      readonly max: number;
      readonly at: number;
    }
  /**
   * Conflict `fan_out_reached` if the mission has `max_children` live missions directly below it, or
   * `max_descendants` anywhere below it, ended ones included. Precedes insert_mission.
   */
  | {
      readonly kind: 'require_fan_out';
      readonly id: string;
      readonly at: number;
      readonly max_children?: number;
      readonly max_descendants?: number;
    }
  /**
   * Conflict `tree_changed` unless so many missions are below it, ended ones included: for who looked at all of them
   * and is about to change them, that none was born meanwhile.
   */
  | { readonly kind: 'require_tree'; readonly id: string; readonly below: number }
  /** GCRA: one unit per `interval_seconds`, `burst` at once. Conflict `rate_limited`. */
  | {
      readonly kind: 'take_rate';
      readonly key: string;
      readonly at: number;
      readonly interval_seconds: number;
      readonly burst: number;
    }
  /** Conflict `blocked` if any live block matches one of the selectors. */
  | { readonly kind: 'require_unblocked'; readonly selectors: readonly Selector[]; readonly at: number }
  /**
   * Appends to the revocation log. The writer assigns `seq` and chooses the audiences for which a matching,
   * unexpired token was minted, inside the same transaction. No matching audience: no entry, unless `to` names them.
   */
  | {
      readonly kind: 'append_feed';
      readonly entry: Omit<FeedEntry, 'seq' | 'prev'>;
      /** `minted`: as above; `all`: every audience. */
      readonly to: 'minted' | 'all';
    }
  | { readonly kind: 'append_audit'; readonly record: AuditRecord }
  /** Closes the open segment before it is full, so that it can be sealed. Conflict `wrong_state` if it is empty. */
  | { readonly kind: 'close_audit_segment'; readonly at: number }
  /** Conflict `wrong_state` unless closed and not yet sealed. */
  | {
      readonly kind: 'seal_audit_segment';
      readonly segment: number;
      readonly sealed_at: number;
      readonly seal: string;
    }
  | { readonly kind: 'insert_template'; readonly template: TemplateRecord }
  /**
   * Approves, or renews an approval that comes due for review. Conflict `wrong_state` if unknown or approved for good,
   * `same_person` if `by` imported it.
   */
  | {
      readonly kind: 'approve_template';
      readonly id: string;
      readonly hash: string;
      readonly by: string;
      readonly at: number;
      readonly review_due_at: number | null;
    }
  | { readonly kind: 'insert_block'; readonly block: BlockRecord }
  | { readonly kind: 'lift_block'; readonly id: string; readonly at: number }
  | { readonly kind: 'insert_admin_token'; readonly token: AdminTokenRecord }
  /** Conflict `wrong_state` if already revoked or spent. */
  | { readonly kind: 'revoke_admin_token'; readonly id: string; readonly at: number }
  | { readonly kind: 'insert_enrolled_key'; readonly key: EnrolledKeyRecord }
  | { readonly kind: 'revoke_enrolled_key'; readonly id: string; readonly at: number }
  | { readonly kind: 'insert_signing_key'; readonly key: SigningKeyRecord }
  | {
      readonly kind: 'update_signing_key';
      readonly kid: string;
      readonly active_until: number;
      readonly retired_at: number;
      readonly revoked_at: number | null;
    }
  /** Last acknowledgement of one verifier process; upsert, never lowers seq within an epoch. */
  | { readonly kind: 'acknowledge'; readonly instance: VerifierInstance }
  /** One batch of reports, its index, and its source's counts. Conflict `repeated` if it is already kept. */
  | {
      readonly kind: 'insert_report';
      readonly report: ReportRecord;
      readonly dropped: { readonly foreign: number; readonly malformed: number };
      /** As the source counts, since it started. */
      readonly lost: number;
    }
  /** Admin idempotency: conflict `repeated` if the event was applied before. */
  | { readonly kind: 'insert_event_id'; readonly event_id: string; readonly at: number }
  | { readonly kind: 'set_meta'; readonly key: string; readonly value: string }
  /**
   * What changed of one history; `version` 1 begins it. Conflict `wrong_version` unless it was at `version - 1`.
   */
  | {
      readonly kind: 'save_history';
      readonly scope: HistoryScope;
      readonly version: number;
      readonly learned: readonly (readonly [digest: string, destination: LearnedDestination])[];
      readonly forgotten: readonly string[];
    };

/** Whose past it is, and where. */
export interface HistoryScope {
  readonly template_id: string;
  readonly agent: string;
  readonly audience: string;
}

export interface HistorySummary extends HistoryScope {
  readonly version: number;
  readonly destinations: number;
}

export type Conflict =
  | 'mission_not_found'
  | 'mission_not_active'
  | 'wrong_state'
  | 'wrong_version'
  | 'derivations_exhausted'
  | 'limit_exhausted'
  | 'evidence_pinned'
  | 'replayed'
  | 'max_active_reached'
  | 'fan_out_reached'
  | 'tree_changed'
  | 'rate_limited'
  | 'blocked'
  | 'same_person'
  | 'repeated'
  /** An id, hash or creation request that is already stored. */
  | 'duplicate'
  /** The mission's status-list slot belongs to another: draw again. */
  | 'slot_taken';

/** Thrown by `atomically` when a write did not touch the rows it said. Nothing of the group is stored. */
export class WriteConflict extends Error {
  readonly conflict: Conflict;
  /** Position of the failed write in its group. */
  readonly index: number;

  constructor(conflict: Conflict, index: number) {
    super(conflict);
    this.name = 'WriteConflict';
    this.conflict = conflict;
    this.index = index;
  }
}
