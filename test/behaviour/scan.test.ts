import { describe, expect, test } from 'vitest';
import { isDeceptive, proofForm, skeleton, urlForm } from '../../src/behaviour/forms.ts';
import { scanText } from '../../src/behaviour/scan.ts';
import { destinationsOf } from '../../src/behaviour/values.ts';

function found(text: string): string[] {
  const out: string[] = [];
  scanText(text, (kind, form) => {
    out.push(`${kind}:${form}`);
    return true;
  });
  return out;
}

describe('values in text', () => {
  test.each([
    ['write to Kim.Lee@Office.example, please', 'mail:kim.lee@office.example'],
    ['<mailto:kim@office.example>', 'mail:kim@office.example'],
    ['see (https://Portal.example/a/b/).', 'url:portal.example/a/b'],
    ['[click](https://portal.example/x?y=1)', 'url:portal.example/x?y=1'],
    ['go to www.portal.example now', 'url:www.portal.example'],
    ['pay DE89 3704 0044 0532 0130 00 today', 'account:de89370400440532013000'],
    ['pay GB33BUKB20201555555555.', 'account:gb33bukb20201555555555'],
    ['call +44 20 7946 0958', 'phone:+442079460958'.replace('+', '')],
    ['ask @maria_k', 'handle:maria_k'],
    ['open /etc/app/secret.key', 'path:/etc/app/secret.key'],
    ['the report-2024.pdf is done', 'file:report-2024.pdf'],
    ['by Maria Keller, our lead', 'name:maria keller'],
    ["called 'Golden River'", 'quoted:golden river'],
  ])('%s', (text, expected) => {
    expect(found(text)).toContain(expected);
  });

  test('wrapped lines and list items are read like plain ones', () => {
    expect(found('- kim@office.example\n* lee@office.example\n1. "tom@office.example";')).toEqual(
      expect.arrayContaining([
        'mail:kim@office.example',
        'mail:lee@office.example',
        'mail:tom@office.example',
      ]),
    );
  });

  test('a stopped or cut scan says that it is not complete', () => {
    expect(scanText('a@b.example c@d.example', () => false).complete).toBe(false);
    expect(scanText('x'.repeat(100), () => true, { max_chars: 10 }).complete).toBe(false);
    expect(scanText('nothing here', () => true).complete).toBe(true);
  });

  test('work grows in step with the text, whatever the text is', () => {
    for (const piece of ["'", '"a', '@', 'A ', 'a@', '1 ', '//', 'DE89 ', '%41', '((((', '+1 ']) {
      let small = 0;
      let large = 0;
      scanText(piece.repeat(2000), () => ++small > 0);
      scanText(piece.repeat(20_000), () => ++large > 0);
      expect(large).toBeLessThanOrEqual(small * 11 + 20);
    }
  });
});

describe('forms', () => {
  test('proof folds case and wrapping, never look-alikes', () => {
    expect(proofForm(' <Kim@Office.example>, ')).toBe('kim@office.example');
    expect(proofForm('kіm@office.example')).not.toBe('kim@office.example');
  });

  test('suspicion sees through encodings and look-alikes', () => {
    for (const form of [
      'collect%40evil.example',
      'Y29sbGVjdEBldmlsLmV4YW1wbGU=',
      'cоllect@evil.example',
      'collect (at) evil (dot) example'.split(' ').join(''),
    ]) {
      expect(skeleton(form), form).toBe('collect@evil.example');
    }
  });

  test('names in another script alone are not deceptive', () => {
    expect(isDeceptive('Мария')).toBe(false);
    expect(isDeceptive('müller@büro.example')).toBe(false);
    expect(isDeceptive('раypal.example')).toBe(true);
  });

  test('addresses keep the host that they go to', () => {
    expect(urlForm('https://bank.example@evil.example/x')).toBe('evil.example/x');
    expect(urlForm('http://HOST.example:80/a/#frag')).toBe('host.example/a');
    expect(urlForm('')).toBeNull();
  });

  test('a list of recipients is as many destinations, and too deep a value is none that can be known', () => {
    expect(
      destinationsOf('mail', 'Kim <kim@a.example>, lee@a.example')?.map((one) => one.candidates[0]),
    ).toEqual(['v:kim@a.example', 'v:lee@a.example']);
    expect(destinationsOf('mail', [[[[[['x@a.example']]]]]])).toBeNull();
    expect(destinationsOf('mail', null)).toEqual([]);
  });
});
