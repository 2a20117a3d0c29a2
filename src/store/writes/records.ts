/** Records that people and start-up make: templates, blocks, tokens, keys, acknowledgements, meta. */
import { Conflicted, type Connection, exactlyOne, type Handlers, insertOnce } from './context.ts';

type Kinds =
  | 'insert_template'
  | 'approve_template'
  | 'insert_block'
  | 'lift_block'
  | 'insert_admin_token'
  | 'revoke_admin_token'
  | 'insert_enrolled_key'
  | 'revoke_enrolled_key'
  | 'insert_signing_key'
  | 'update_signing_key'
  | 'acknowledge'
  | 'set_meta';

export function recordWrites(db: Connection): Handlers<Kinds> {
  const insertTemplate = db.prepare(
    `insert into templates (id, version, hash, document, imported_by, imported_at, approved_by, approved_at,
      review_due_at) values (@id, @version, @hash, @document, @imported_by, @imported_at, @approved_by,
      @approved_at, @review_due_at)`,
  );
  const templateStanding = db.prepare<
    [string, string],
    { imported_by: string; approved_at: number | null; review_due_at: number | null }
  >('select imported_by, approved_at, review_due_at from templates where id = ? and hash = ?');
  const approveTemplate = db.prepare(
    `update templates set approved_by = @by, approved_at = @at, review_due_at = @review_due_at
     where id = @id and hash = @hash`,
  );
  const insertBlock = db.prepare(
    `insert into blocks (id, selector_kind, selector_key, until, reason, created_by, created_at, lifted_at)
     values (@id, @selector_kind, @selector_key, @until, @reason, @created_by, @created_at, @lifted_at)`,
  );
  const liftBlock = db.prepare<[number, string]>(
    'update blocks set lifted_at = ? where id = ? and lifted_at is null',
  );
  const insertAdminToken = db.prepare(
    `insert into admin_tokens (id, name, token_digest, role, bootstrap, created_at, expires_at, revoked_at)
     values (@id, @name, @token_digest, @role, @bootstrap, @created_at, @expires_at, @revoked_at)`,
  );
  const revokeAdminToken = db.prepare<[number, string]>(
    'update admin_tokens set revoked_at = ? where id = ? and revoked_at is null',
  );
  const insertEnrolledKey = db.prepare(
    `insert into enrolled_keys (id, agent, jkt, jwk, created_by, created_at, expires_at, revoked_at)
     values (@id, @agent, @jkt, @jwk, @created_by, @created_at, @expires_at, @revoked_at)`,
  );
  const revokeEnrolledKey = db.prepare<[number, string]>(
    'update enrolled_keys set revoked_at = ? where id = ? and revoked_at is null',
  );
  const insertSigningKey = db.prepare(
    `insert into signing_keys (kid, alg, jwk, sealed, created_at, active_from, active_until, retired_at,
      revoked_at) values (@kid, @alg, @jwk, @sealed, @created_at, @active_from, @active_until, @retired_at,
      @revoked_at)`,
  );
  const updateSigningKey = db.prepare(
    `update signing_keys set active_until = @active_until, retired_at = @retired_at,
      revoked_at = @revoked_at where kid = @kid`,
  );
  // A late acknowledgement of an older position must not undo what an admin already saw enforced.
  const acknowledge = db.prepare(
    `insert into verifier_instances (verifier_id, instance_id, epoch, seq, last_seen)
     values (@verifier_id, @instance_id, @epoch, @seq, @last_seen)
     on conflict (verifier_id, instance_id) do update set
       seq = case when excluded.epoch > epoch then excluded.seq
                  when excluded.epoch = epoch then max(seq, excluded.seq) else seq end,
       epoch = max(epoch, excluded.epoch), last_seen = max(last_seen, excluded.last_seen)`,
  );
  const setMeta = db.prepare<[string, string]>(
    'insert into meta (key, value) values (?, ?) on conflict (key) do update set value = excluded.value',
  );

  return {
    insert_template: ({ template }) => {
      insertOnce(() => insertTemplate.run({ ...template, document: JSON.stringify(template.document) }));
    },
    approve_template: ({ kind: _, ...approval }) => {
      const row = templateStanding.get(approval.id, approval.hash);
      if (row === undefined) throw new Conflicted('wrong_state');
      // Approving again is the review, at its time or before; without one there is nothing to renew.
      if (row.approved_at !== null && row.review_due_at === null) throw new Conflicted('wrong_state');
      if (row.imported_by === approval.by) throw new Conflicted('same_person');
      approveTemplate.run(approval);
    },
    insert_block: ({ block }) => {
      const { selector, ...rest } = block;
      insertOnce(() =>
        insertBlock.run({ ...rest, selector_kind: selector.kind, selector_key: selector.key }),
      );
    },
    lift_block: ({ id, at }) => exactlyOne(liftBlock.run(at, id).changes, 'wrong_state'),
    insert_admin_token: ({ token }) => {
      insertOnce(() => insertAdminToken.run({ ...token, bootstrap: token.bootstrap ? 1 : 0 }));
    },
    revoke_admin_token: ({ id, at }) => exactlyOne(revokeAdminToken.run(at, id).changes, 'wrong_state'),
    insert_enrolled_key: ({ key }) => {
      insertOnce(() => insertEnrolledKey.run({ ...key, jwk: JSON.stringify(key.jwk) }));
    },
    revoke_enrolled_key: ({ id, at }) => exactlyOne(revokeEnrolledKey.run(at, id).changes, 'wrong_state'),
    insert_signing_key: ({ key }) => {
      insertOnce(() => insertSigningKey.run({ ...key, jwk: JSON.stringify(key.jwk) }));
    },
    update_signing_key: ({ kind: _, ...key }) => {
      exactlyOne(updateSigningKey.run(key).changes, 'wrong_state');
    },
    acknowledge: ({ instance }) => {
      acknowledge.run({ ...instance });
    },
    set_meta: ({ key, value }) => {
      setMeta.run(key, value);
    },
  };
}
