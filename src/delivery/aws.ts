/**
 * AWS credentials for programs of others: the container endpoint, which every SDK asks by itself, and profiles whose
 * `credential_process` asks this run. Both give what is in hand now, renewed, so nothing has to be restarted.
 */
import type { Credential } from '../sdk/agent/credential.ts';
import { answerJson, type LocalServer, refuse, startLocalServer } from './local-server.ts';
import type { PrivateFolder } from './private-folder.ts';

export interface AwsDelivery {
  readonly credential: Credential<'aws_session'>;
  readonly container: boolean;
  readonly profile: string | undefined;
  readonly region: string | undefined;
}

export interface DeliveredAws {
  /** For the command; undefined takes a variable away. */
  readonly env: Readonly<Record<string, string | undefined>>;
  close(): Promise<void>;
}

/** Standing credentials of whoever started the run: the command must not fall back on them. */
const TAKEN_AWAY = [
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'AWS_SECURITY_TOKEN',
  'AWS_CREDENTIAL_EXPIRATION',
  'AWS_PROFILE',
  'AWS_DEFAULT_PROFILE',
  'AWS_ROLE_ARN',
  'AWS_ROLE_SESSION_NAME',
  'AWS_WEB_IDENTITY_TOKEN_FILE',
  'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI',
  'AWS_CONTAINER_CREDENTIALS_FULL_URI',
  'AWS_CONTAINER_AUTHORIZATION_TOKEN',
  'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE',
] as const;

const SOCKET = 'aws.sock';
const PATH = '/aws/';

/** Format of the answer to a container (each SDK's documentation), Version of the answer of a process. */
export async function deliverAws(
  deliveries: readonly AwsDelivery[],
  folder: PrivateFolder,
  /** The command that runs `sortie credential-process`. */
  self: readonly string[],
  fault: (why: string) => void,
): Promise<DeliveredAws> {
  const servers: LocalServer[] = [];
  const env: Record<string, string | undefined> = Object.fromEntries(
    TAKEN_AWAY.map((name) => [name, undefined]),
  );
  // No profile and no key of the user's own files, and no role of the machine.
  env['AWS_SHARED_CREDENTIALS_FILE'] = folder.write('aws-credentials', '');
  env['AWS_EC2_METADATA_DISABLED'] = 'true';

  const container = deliveries.find((delivery) => delivery.container);
  if (container !== undefined) {
    const server = await startLocalServer({
      socket: null,
      secret_in_path: false,
      fault,
      handle: ({ incoming, target }, response) =>
        answer(container, incoming.method === 'GET' && target === `${PATH}default`, response),
    });
    servers.push(server);
    env['AWS_CONTAINER_CREDENTIALS_FULL_URI'] = `${server.address}${PATH}default`;
    // Without a newline: SDKs send the file as it is.
    env['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE'] = folder.write('aws-token', server.secret);
    if (container.region !== undefined) {
      env['AWS_REGION'] = container.region;
      env['AWS_DEFAULT_REGION'] = container.region;
    }
  }

  const profiles = deliveries.filter(({ profile }) => profile !== undefined);
  if (profiles.length > 0)
    servers.push(
      await startLocalServer({
        socket: folder.at(SOCKET),
        secret_in_path: false,
        fault,
        handle: async ({ incoming, target }, response) => {
          const found = profiles.find(({ profile }) => target === `${PATH}${profile}`);
          await answer(found ?? null, incoming.method === 'GET', response);
        },
      }),
    );
  env['AWS_CONFIG_FILE'] = folder.write(
    'aws-config',
    profiles.map((delivery) => section(delivery, folder, self)).join('\n'),
  );
  return {
    env,
    async close() {
      await Promise.all(servers.map((server) => server.close()));
    },
  };
}

async function answer(
  delivery: AwsDelivery | null,
  asked_well: boolean,
  response: Parameters<typeof answerJson>[0],
): Promise<void> {
  if (delivery === null || !asked_well) {
    refuse(response);
    return;
  }
  const value = await delivery.credential.value();
  answerJson(response, 200, {
    AccessKeyId: value.access_key_id,
    SecretAccessKey: value.secret_access_key,
    Token: value.session_token,
    Expiration: value.expiration,
    RoleArn: value.role,
  });
}

function section({ profile, region }: AwsDelivery, folder: PrivateFolder, self: readonly string[]): string {
  const command = [...self, 'credential-process', folder.at(SOCKET), profile ?? ''].map(quoted).join(' ');
  return [
    `[profile ${profile}]`,
    `credential_process = ${command}`,
    ...(region === undefined ? [] : [`region = ${region}`]),
    '',
  ].join('\n');
}

/** For a POSIX shell (JavaScript, Go) and for Python's shlex alike; the characters that they read differently fail. */
function quoted(word: string): string {
  if (/["\\$`\n\r]/.test(word)) throw new TypeError(`${word}: this path cannot be named in an AWS profile`);
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(word) ? word : `"${word}"`;
}
