/** Import and approval: a ceiling dispatches only after a second person said yes to exactly this hash. */
import { templateHash } from '../domain/anchors.ts';
import { lint } from '../domain/authority/index.ts';
import { Denied } from '../domain/denial.ts';
import type { TemplateDocument } from '../domain/policy.ts';
import { type Ports, type TemplateRecord, WriteConflict } from '../ports.ts';

/**
 * Imports a version; importing the same document again changes nothing.
 * @throws Denied `conflict` if the version was imported before with another content
 */
export async function importTemplate(
  ports: Ports,
  document: TemplateDocument,
  actor: string,
): Promise<TemplateRecord> {
  const hash = templateHash(ports.policy().issuer, document);
  const known = await ports.store.template(document.id, hash);
  if (known !== null) return known;
  const versions = await ports.store.templates();
  if (versions.some((version) => version.id === document.id && version.version === document.version))
    throw new Denied({
      tag: 'conflict',
      detail: `version ${document.version} of ${document.id} exists with another content: give the change a new version`,
    });
  const now = ports.clock.now();
  const template: TemplateRecord = {
    id: document.id,
    version: document.version,
    hash,
    document,
    imported_by: actor,
    imported_at: now,
    approved_by: null,
    approved_at: null,
    review_due_at: null,
  };
  await ports.store.atomically([
    { kind: 'insert_template', template },
    {
      kind: 'append_audit',
      record: {
        ts: now,
        event: 'template.imported',
        actor,
        mission_id: null,
        details: { id: template.id, version: template.version, hash },
      },
    },
  ]);
  return template;
}

/**
 * Approves a version. Of one with `review_every`, approving again is its review: it is due anew from then on.
 * @throws Denied `not_found`, `conflict` for the importer or if it was approved for good
 */
export async function approveTemplate(
  ports: Ports,
  id: string,
  hash: string,
  actor: string,
): Promise<TemplateRecord> {
  const record = await ports.store.template(id, hash);
  if (record === null) throw new Denied({ tag: 'not_found' });
  const now = ports.clock.now();
  const [fault] = lint(record.document.ceiling, now, ports.policy().catalogue).filter(
    ({ severity }) => severity === 'error',
  );
  if (fault) throw new Denied({ tag: 'conflict', detail: `the ceiling cannot be approved: ${fault.text}` });
  const { review_every_seconds } = record.document;
  try {
    await ports.store.atomically([
      {
        kind: 'approve_template',
        id,
        hash,
        by: actor,
        at: now,
        review_due_at: review_every_seconds === null ? null : now + review_every_seconds,
      },
      {
        kind: 'append_audit',
        record: {
          ts: now,
          event: record.approved_at === null ? 'template.approved' : 'template.reviewed',
          actor,
          mission_id: null,
          details: { id, version: record.version, hash },
        },
      },
    ]);
  } catch (cause) {
    if (!(cause instanceof WriteConflict)) throw cause;
    if (cause.conflict === 'same_person')
      throw new Denied({
        tag: 'conflict',
        detail: 'whoever imported a version cannot approve it: ask another person',
      });
    throw new Denied({ tag: 'conflict', detail: 'this version was approved before, and for good' });
  }
  const approved = await ports.store.template(id, hash);
  if (approved === null) throw new Denied({ tag: 'not_found' });
  return approved;
}
