/** The mission file of `sortie exec`: what is declared, and how each credential reaches the command. */
import { z } from 'zod';
import { duration } from '../config/duration.ts';
import { parseYaml, readYaml } from '../config/yaml.ts';
import { parseAuthoritySet } from '../domain/authority/index.ts';
import { Denied } from '../domain/denial.ts';
import type { JsonValue } from '../domain/json.ts';

const variable = () =>
  z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'must be the name of an environment variable');
const word = () =>
  z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be letters, digits, dots, dashes, underscores');
const text = (max: number) => z.string().min(1).max(max);
const count = () => z.number().int().min(1);

/** Which of the credentials that the mission holds. */
const chosen = {
  credential: text(2048).describe('Its target as the manifest shows it: an ARN, server/database, ...'),
  nth: count().optional().describe('Where several have this target: which, in the order of the mission.'),
};

/** What of its value. */
const part = {
  member: text(256)
    .optional()
    .describe('One member, such as password or secrets.0.data.username; without it, all as JSON.'),
  text: text(4096)
    .optional()
    .describe('Several, in a text: {user}; {password|url} is escaped for a URL. A brace is {{ or }}.'),
};

const onePart = <T extends { member?: string | undefined; text?: string | undefined }>(value: T) =>
  value.member === undefined || value.text === undefined;
const ONE_PART = { error: 'member or text, not both' };

const aws = z
  .strictObject({
    role: text(2048).describe('ARN of the role, as in the aws_session of the mission.'),
    nth: chosen.nth,
    region: text(64).optional().describe('AWS_REGION, or the region of the profile.'),
    container: z
      .literal(true)
      .optional()
      .describe('For programs without a profile: AWS_CONTAINER_CREDENTIALS_FULL_URI. One at most.'),
    profile: word().optional().describe('For programs that name a profile: AWS_CONFIG_FILE.'),
  })
  .refine(({ container, profile }) => container !== undefined || profile !== undefined, {
    error: 'needs container: true, or a profile',
  });

const environment = z.strictObject({ ...chosen, ...part }).refine(onePart, ONE_PART);

const file = z
  .strictObject({
    ...chosen,
    ...part,
    name: word().describe('Its name in the private folder of the run.'),
    path_in: variable().describe('The variable that says where the file is.'),
  })
  .refine(onePart, ONE_PART);

const proxy = z
  .strictObject({
    audience: text(2048).describe('A declared resource; nothing else is reached through it.'),
    url_in: variable().optional().describe('The variable for its address on loopback.'),
    secret_in: variable()
      .optional()
      .describe('The variable for the secret of this run: a bearer token, or the password of basic auth.'),
    secret_in_url: z
      .literal(true)
      .optional()
      .describe('For programs that take an address and nothing else; it shows in their logs.'),
    socket_in: variable().optional().describe('Instead: the variable for the path of a Unix socket.'),
  })
  .refine(({ url_in, socket_in }) => (url_in === undefined) !== (socket_in === undefined), {
    error: 'needs url_in, or socket_in',
  })
  .refine(
    ({ url_in, secret_in, secret_in_url }) =>
      (url_in !== undefined) === (secret_in !== undefined || secret_in_url !== undefined),
    { error: 'secret_in or secret_in_url goes with url_in, and with nothing else' },
  );

const intent = z
  .strictObject({
    goal: text(4096).describe('What is to be done, for people.'),
    resources: z.array(text(2048)).min(1).max(64).describe('Registered services.'),
    lifetime: duration().optional().describe('How long the mission lasts at most; this or expires_at.'),
    expires_at: z.iso.datetime({ offset: true }).optional(),
    purpose: text(128).optional(),
    goal_lang: text(35).optional(),
    constraints: z.array(text(1024)).max(64).optional(),
    success_criteria: z.array(text(1024)).max(64).optional(),
    continues: text(64).optional(),
    needs: z
      .array(z.strictObject({ resource: text(2048), actions: z.array(text(256)), why: text(1024) }))
      .max(64)
      .optional(),
    controls: z
      .strictObject({
        max_calls: count().optional(),
        max_derivations: count().optional(),
        max_duration: count().optional(),
        max_egress_volume: count().optional(),
        acr: text(256).optional(),
      })
      .optional(),
  })
  .refine(({ lifetime, expires_at }) => (lifetime === undefined) !== (expires_at === undefined), {
    error: 'needs an end: one of lifetime and expires_at',
  });

export const missionFileSchema = z.strictObject({
  broker: z.url({ protocol: /^https?$/ }).describe("The broker's issuer: https, or http on loopback."),
  evidence: text(64).optional().describe('Only this kind of evidence, such as file or kubernetes.'),
  template: text(128).optional().describe('Only this template; else the broker decides.'),
  intent,
  authorization_details: z
    .array(z.looseObject({ type: z.string() }))
    .min(1)
    .optional()
    .superRefine((value, context) => {
      if (value === undefined) return;
      try {
        parseAuthoritySet(value as JsonValue, 'authorization_details');
      } catch (cause) {
        if (!(cause instanceof Denied)) throw cause;
        context.addIssue({ code: 'custom', message: cause.private_reason ?? 'is not understood' });
      }
    })
    .describe('What is asked for; without it, all that the template allows.'),
  deliver: z
    .strictObject({
      aws: z.array(aws).default([]),
      postgres: z
        .array(
          z.strictObject({
            ...chosen,
            service: word()
              .optional()
              .describe('A name in PGSERVICEFILE; one may do without: it is the default.'),
          }),
        )
        .default([])
        .describe('PGSERVICEFILE, and PGHOST, PGUSER, ... of the one without a service name.'),
      environment: z.record(variable(), environment).default({}),
      files: z.array(file).default([]),
      proxies: z.array(proxy).default([]),
    })
    .prefault({})
    .superRefine((deliver, context) => {
      const twice = (names: readonly (string | undefined)[], path: string, what: string) => {
        const given = names.filter((name) => name !== undefined);
        const repeated = given.find((name, at) => given.indexOf(name) !== at);
        if (repeated !== undefined)
          context.addIssue({ code: 'custom', path: [path], message: `${what} ${repeated} is given twice` });
      };
      twice(
        deliver.aws.map(({ container }) => (container ? 'container' : undefined)),
        'aws',
        'the default,',
      );
      twice(
        deliver.aws.map(({ profile }) => profile),
        'aws',
        'the profile',
      );
      twice(
        deliver.postgres.map(({ service }) => service ?? 'default'),
        'postgres',
        'the service',
      );
      twice(
        deliver.files.map(({ name }) => name),
        'files',
        'the name',
      );
      twice(
        [
          ...Object.keys(deliver.environment),
          ...deliver.files.map(({ path_in }) => path_in),
          ...deliver.proxies.flatMap((entry) => [entry.url_in, entry.secret_in, entry.socket_in]),
        ],
        'environment',
        'the variable',
      );
    })
    .describe('How credentials reach the command.'),
  check_every: duration()
    .prefault('10s')
    .describe('How often the broker is asked whether the mission is still on.'),
  on_end: z
    .strictObject({
      command: z
        .enum(['terminate', 'leave'])
        .default('terminate')
        .describe('What happens to the command when its mission ends before it.'),
      grace: duration().prefault('10s').describe('From SIGTERM to SIGKILL.'),
    })
    .prefault({}),
});

export type MissionFile = z.output<typeof missionFileSchema>;
export type Deliveries = MissionFile['deliver'];

/** @throws ConfigFault naming file, line, column and key */
export function readMissionFile(path: string): MissionFile {
  return readYaml(path, missionFileSchema);
}

/** @throws ConfigFault */
export function parseMissionFile(content: string, path: string): MissionFile {
  return parseYaml(content, path, missionFileSchema);
}
