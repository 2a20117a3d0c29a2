/** Names, character by character and length by length: exactly what is accepted, and not one more. */
import { describe, expect, it } from 'vitest';
import {
  type AuthoritySet,
  compile,
  intersect,
  isFamily,
  isLiteralAction,
  parseAuthoritySet,
  permits,
} from '../../../src/domain/authority/index.ts';
import { Denied } from '../../../src/domain/denial.ts';

const UPPER = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
const LOWER = 'abcdefghijklmnopqrstuvwxyz';
const DIGITS = '0123456789';
/** Everything that one UTF-16 unit up to Latin-1 can be. */
const UNITS = Array.from({ length: 0x100 }, (_, unit) => String.fromCharCode(unit));
const acceptedOf = (accepts: (unit: string) => boolean) => UNITS.filter(accepts).join('');
const sorted = (text: string) => [...text].sort().join('');

const RESOURCE = 'https://erp.example.com';
const entry = (constraints: object, actions: readonly string[] = ['pay']) => ({
  type: 'mission_resource_access',
  resource: RESOURCE,
  actions,
  constraints,
});

function parses(value: unknown): boolean {
  try {
    parseAuthoritySet([value], 'x');
    return true;
  } catch (cause) {
    if (cause instanceof Denied) return false;
    throw cause;
  }
}

function codeOf(constraints: object, context: object): string {
  const set = parseAuthoritySet([entry(constraints)], 'x');
  const refusal = permits(
    compile(set),
    { action: 'pay', resource: RESOURCE, parameters: {}, context: context as never },
    0,
  );
  return refusal === null ? 'met' : refusal.code;
}
const toward = (domain: string, recipient: unknown) =>
  codeOf({ recipient_domain: domain }, { recipients: [recipient] });

describe('an action', () => {
  it('is written with letters, digits and four signs, joined by dots', () => {
    const alphabet = sorted(`${UPPER}${LOWER}${DIGITS}-_:/`);
    expect(acceptedOf((unit) => isLiteralAction(`a${unit}b`))).toBe(sorted(`${alphabet}.`));
    expect(acceptedOf(isLiteralAction)).toBe(alphabet);
    expect(acceptedOf((unit) => isFamily(`${unit}.*`))).toBe(alphabet);
    expect(acceptedOf((unit) => isFamily(`a.${unit}`))).toBe('*');
  });

  it('has at most 128 characters, a family with its star too', () => {
    expect([isLiteralAction('a'.repeat(128)), isLiteralAction('a'.repeat(129))]).toEqual([true, false]);
    expect([isFamily(`${'a'.repeat(126)}.*`), isFamily(`${'a'.repeat(127)}.*`)]).toEqual([true, false]);
    expect(['', '.', '.a', 'a.', 'a..b', '*', '.*', 'a*', 'a.*.b'].filter(isLiteralAction)).toEqual([]);
    expect(['', '*', '.*', '..*', 'a..*', '.a.*', 'a*', 'a.*.*'].filter(isFamily)).toEqual([]);
  });

  it('covered by one of several families is left out of what is common', () => {
    const set = (...actions: string[]) =>
      parseAuthoritySet(
        [{ type: 'mission_resource_access', resource: RESOURCE, actions }],
        'x',
      ) as AuthoritySet;
    const { granted } = intersect(set('a.*', 'b.*'), set('a.x', 'b.*', 'a.*'));
    expect(granted).toMatchObject([{ actions: ['a.*', 'b.*'] }]);
  });
});

describe('a currency', () => {
  const money = (currency: unknown) => ({ max_amount: { amount: '5', currency } });

  it('is three capital letters, in the ceiling and in the call', () => {
    expect(acceptedOf((unit) => parses(entry(money(`E${unit}R`))))).toBe(UPPER);
    expect(
      acceptedOf(
        (unit) =>
          codeOf(money('EUR'), { amount: { amount: '5', currency: `${unit}UR` } }) !==
          'constraint_unevaluable',
      ),
    ).toBe(UPPER);
    for (const currency of ['EU', 'EURO', '', null, 978, ['E', 'U', 'R']])
      expect(parses(entry(money(currency)))).toBe(false);
  });

  it('without an amount, or with one in another form, decides nothing', () => {
    for (const amount of [
      null,
      'EUR',
      5,
      [],
      {},
      { amount: 5, currency: 'EUR' },
      { amount: '5', currency: null },
    ])
      expect(codeOf(money('EUR'), { amount })).toBe('constraint_unevaluable');
    expect(codeOf(money('EUR'), { amount: { amount: '5.00', currency: 'EUR' } })).toBe('met');
    expect(codeOf(money('EUR'), { amount: { amount: '5.01', currency: 'EUR' } })).toBe('constraint_violated');
  });

  it('keeps the amount as the agent wrote it where both are equal', () => {
    const limited = (amount: string) =>
      [entry({ max_amount: { amount, currency: 'EUR' } })] as unknown as AuthoritySet;
    expect(intersect(limited('5.00'), limited('5')).granted).toEqual(limited('5.00'));
  });
});

describe('a domain', () => {
  const parsed = (recipient_domain: string) => parses(entry({ recipient_domain }));

  it('is written with letters, digits and inner hyphens', () => {
    const alphabet = sorted(`${UPPER}${LOWER}${DIGITS}`);
    expect(acceptedOf((unit) => parsed(`a${unit}b.example`))).toBe(sorted(`${alphabet}-.`));
    expect(acceptedOf((unit) => parsed(`${unit}.example`))).toBe(alphabet);
    expect(acceptedOf((unit) => parsed(`a.${unit}`))).toBe(sorted(`${UPPER}${LOWER}`));
    for (const domain of ['', '.', 'a.', '.a', 'a..b', '-a.b', 'a-.b', 'a.-b', '10.0.0.1', 'a.09'])
      expect([domain, parsed(domain)]).toEqual([domain, false]);
    expect(parsed('0.9.a9')).toBe(true);
  });

  it('has labels of at most 63 characters, and at most 253 in all', () => {
    const label = 'a'.repeat(63);
    expect([parsed(`${label}.${label}.b`), parsed(`b.${label}a.b`)]).toEqual([true, false]);
    const longest = `${label}.${label}.${label}.${'a'.repeat(61)}`;
    expect([longest.length, parsed(longest), parsed(`${longest}a`)]).toEqual([253, true, false]);
    // The length is the domain's, not that of the whole address.
    expect(toward('a.example', `${'x'.repeat(60)}@b.a.example`)).toBe('met');
    expect(toward(longest, `someone@${longest}`)).toBe('met');
  });

  it('compares without case, letter by letter', () => {
    expect(toward(`${LOWER}.example`, `x@${UPPER}.EXAMPLE`)).toBe('met');
    expect(toward(`${UPPER}.example`, `x@${LOWER}.example`)).toBe('met');
    expect(toward('a1-b.example', 'x@A1-B.example')).toBe('met');
    expect(toward('example.com', 'example.org')).toBe('constraint_violated');
  });
});

describe('a mailbox', () => {
  it('is written with letters, digits and four signs', () => {
    const alphabet = sorted(`${UPPER}${LOWER}${DIGITS}.-+_`);
    expect(acceptedOf((unit) => toward('a.example', `a${unit}b@a.example`) === 'met')).toBe(alphabet);
  });

  it('has at most 64 characters, and one at all', () => {
    expect(toward('a.example', `${'x'.repeat(64)}@a.example`)).toBe('met');
    expect(toward('a.example', `${'x'.repeat(65)}@a.example`)).toBe('constraint_unevaluable');
    expect(toward('a.example', '@a.example')).toBe('constraint_unevaluable');
    expect(toward('a.example', 'a.example')).toBe('met');
    expect(toward('a.example', 7)).toBe('constraint_unevaluable');
    expect(toward('a.example', '')).toBe('constraint_unevaluable');
  });
});
