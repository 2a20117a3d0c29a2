import { expect, test } from 'vitest';
import { ConfigFault } from '../../src/config/yaml.ts';
import { parseMissionFile, readMissionFile } from '../../src/delivery/mission-file.ts';

const GOOD = `broker: https://broker.example.com
intent:
  goal: Copy the orders
  resources: [https://erp.example.com]
  lifetime: 1h
`;

function faultsOf(text: string): readonly string[] {
  try {
    parseMissionFile(text, 'm.yaml');
  } catch (cause) {
    if (cause instanceof ConfigFault) return cause.faults;
    throw cause;
  }
  return [];
}

test('a short file is enough, and JSON is read too', () => {
  const file = parseMissionFile(GOOD, 'm.yaml');
  expect(file.on_end).toEqual({ command: 'terminate', grace: 10 });
  expect(file.intent.lifetime).toBe(3600);
  expect(
    parseMissionFile(
      JSON.stringify({ ...file, intent: { ...file.intent, lifetime: '1h' }, check_every: '5s', on_end: {} }),
      'm.json',
    ).check_every,
  ).toBe(5);
});

test('the example is one', () => {
  const { deliver } = readMissionFile(new URL('../../examples/mission.yaml', import.meta.url).pathname);
  expect(deliver.aws).toHaveLength(1);
  expect(Object.keys(deliver.environment)).toEqual(['DATABASE_URL']);
});

test.each([
  ['an unknown key', `${GOOD}delivery: {}\n`, 'm.yaml:6:1: unknown key "delivery"; did you mean "deliver"?'],
  [
    'an unknown key deep inside',
    `${GOOD}deliver:\n  files:\n    - { credential: a, name: b, path: C }\n`,
    'm.yaml:8:33: unknown key "path"',
  ],
  ['a mission without an end', GOOD.replace('  lifetime: 1h\n', ''), 'm.yaml:2:1: intent: needs an end'],
  [
    'a name that climbs out',
    `${GOOD}deliver:\n  files:\n    - { credential: a, name: ../b, path_in: C }\n`,
    'm.yaml:8:24: deliver.files.0.name: must be letters',
  ],
  [
    'a name with a slash',
    `${GOOD}deliver:\n  files:\n    - { credential: a, name: b/c, path_in: C }\n`,
    'must be letters',
  ],
  [
    'a hidden name',
    `${GOOD}deliver:\n  files:\n    - { credential: a, name: .b, path_in: C }\n`,
    'must be letters',
  ],
  [
    'no variable',
    `${GOOD}deliver:\n  environment:\n    "A=B": { credential: a }\n`,
    'm.yaml:8:5: deliver.environment',
  ],
  [
    'a variable twice',
    `${GOOD}deliver:\n  environment:\n    A: { credential: a }\n  files:\n    - { credential: a, name: b, path_in: A }\n`,
    'the variable A is given twice',
  ],
  [
    'a file twice',
    `${GOOD}deliver:\n  files:\n    - { credential: a, name: b, path_in: A }\n    - { credential: a, name: b, path_in: B }\n`,
    'the name b is given twice',
  ],
  [
    'two defaults of AWS',
    `${GOOD}deliver:\n  aws:\n    - { role: a, container: true }\n    - { role: b, container: true }\n`,
    'is given twice',
  ],
  [
    'an AWS role that goes nowhere',
    `${GOOD}deliver:\n  aws:\n    - { role: a }\n`,
    'm.yaml:8:7: deliver.aws.0: needs container: true, or a profile',
  ],
  [
    'a profile that is no word',
    `${GOOD}deliver:\n  aws:\n    - { role: a, profile: "x]\\n[default" }\n`,
    'must be letters',
  ],
  [
    'a proxy without a secret',
    `${GOOD}deliver:\n  proxies:\n    - { audience: "https://a.example", url_in: A }\n`,
    'secret_in or secret_in_url goes with url_in',
  ],
  [
    'a proxy on nothing',
    `${GOOD}deliver:\n  proxies:\n    - { audience: "https://a.example" }\n`,
    'needs url_in, or socket_in',
  ],
  [
    'a member and a text',
    `${GOOD}deliver:\n  environment:\n    A: { credential: a, member: b, text: c }\n`,
    'member or text, not both',
  ],
  [
    'authority that is no authority',
    `${GOOD}authorization_details:\n  - { type: mission_resource_access, resource: "https://erp.example.com" }\n`,
    'm.yaml:6:1: authorization_details',
  ],
  ['a control that does not exist', `${GOOD}  controls: { max_money: 3 }\n`, 'unknown key "max_money"'],
])('%s is refused where it stands', (_, text, fault) => {
  expect(faultsOf(text).join('\n')).toContain(fault);
});
