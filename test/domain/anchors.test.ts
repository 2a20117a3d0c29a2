import { describe, expect, it } from 'vitest';
import {
  type AnchorType,
  anchor,
  authorityHash,
  entryHash,
  intentHash,
  keyedDigest,
  parameterDigest,
  proposalHash,
  templateHash,
} from '../../src/domain/anchors.ts';
import vectors from '../vectors/mission-anchors.json' with { type: 'json' };

const { anchors, parameter_digests } = vectors;

describe('anchors', () => {
  it.each(anchors)('match the draft vector: $name', ({ iss, typ, value, expect: digest }) => {
    expect(anchor(iss, typ as AnchorType, value)).toBe(digest);
  });

  it.each(parameter_digests)('match the draft vector: parameters %#', ({ value, expect: digest }) => {
    expect(parameterDigest(value)).toBe(digest);
  });

  it('do not depend on the order of members, and do on the order of entries', () => {
    const a = { type: 't', resource: 'r' };
    const b = { resource: 'r', type: 't' };
    expect(authorityHash('i', [a])).toBe(authorityHash('i', [b]));
    expect(authorityHash('i', [a, { type: 'u' }])).not.toBe(authorityHash('i', [{ type: 'u' }, a]));
  });

  it('differ by kind and by issuer for the same value', () => {
    const kinds = [intentHash, proposalHash, authorityHash, entryHash, templateHash];
    const digests = kinds.flatMap((hash) => [hash('https://a.example', {}), hash('https://b.example', {})]);
    expect(new Set(digests).size).toBe(10);
  });

  it('hash values as granted: a default written out is another value', () => {
    const entry = { type: 'mission_resource_access', resource: 'https://a.example', actions: ['a'] };
    expect(entryHash('i', entry)).not.toBe(entryHash('i', { ...entry, resource_match: 'exact' }));
  });

  it.each([
    ['mission-intent', intentHash],
    ['mission-proposed-authority', proposalHash],
    ['mission-authority-set', authorityHash],
    ['mission-authority-entry', entryHash],
    ['mission-template', templateHash],
  ] as const)('name their kind: %s', (typ, hash) => {
    expect(hash('i', [1])).toBe(anchor('i', typ, [1]));
  });
});

describe('keyed digests', () => {
  const key = Buffer.alloc(32, 7);

  it('are HMAC-SHA-256 over the canonical value', () => {
    // Computed with an independent implementation: HMAC(32 bytes of 0x07, '{"a":1,"b":"x"}').
    expect(keyedDigest(key, { b: 'x', a: 1 })).toBe(
      'hmac-sha-256:DOm0UxKmpgbVTqohYz_fizyK2SCkixZNxmmWd9P-bvs',
    );
  });

  it('cannot be compared across keys', () => {
    expect(keyedDigest(key, 'x')).not.toBe(keyedDigest(Buffer.alloc(32, 8), 'x'));
    expect(keyedDigest(key, 'x')).not.toBe(keyedDigest(key, 'y'));
  });

  it('refuse a key that could be guessed', () => {
    expect(() => keyedDigest(Buffer.alloc(31), 'x')).toThrow(RangeError);
  });
});
