/**
 * `github_installation_token`: a token of a GitHub App's installation, for the entry's repositories and
 * permissions. GitHub revokes a token on nobody's word but the token's own, so it is kept, sealed, for that alone.
 */

import {
  type GithubInstallationToken,
  type GithubLevel,
  githubInstallationToken,
  levelWithin,
  repositoriesOf,
} from '../../domain/authority/types/github_installation_token.ts';
import { Denied } from '../../domain/denial.ts';
import { isJsonObject, type JsonObject } from '../../domain/json.ts';
import { rfc3339 } from '../../domain/reader.ts';
import { endOf } from '../lifetime.ts';
import {
  type IssueContext,
  type Issued,
  type LeaseRequest,
  type Provider,
  ProviderFault,
  type Residual,
  type Revocation,
} from '../provider.ts';
import { type GithubApp, type GithubClient, openApp, PROVIDER, tokenIn } from './app.ts';

export interface GithubTokenOptions {
  readonly apps: readonly GithubApp[];
  /** Under the broker's key-encryption key; `purpose` keeps one sealed value from standing in for another. */
  readonly seal: {
    seal(plaintext: Buffer, purpose: string): string;
    open(sealed: string, purpose: string): Buffer;
  };
}

/** GitHub gives every installation token an hour, and nothing else. */
const LIFE_SECONDS = 3600;
/** Its clock may be ahead of ours. */
const SLACK_SECONDS = 60;
/** Every app may read this, and GitHub adds it to whatever was asked for. */
const ALWAYS_GRANTED: Readonly<Record<string, GithubLevel>> = { metadata: 'read' };

const GONE: Residual = {
  seconds: 0,
  why: 'revoked at GitHub with the mission, which may end before the hour that GitHub gives; the hour alone ends it where GitHub cannot be reached',
};

export function createGithubTokens(options: GithubTokenOptions): Provider<GithubInstallationToken> {
  const clients = new Map(options.apps.map((app) => [app.name, openApp(app)]));
  const purposeOf = (lease_id: string) => `${PROVIDER}/${lease_id}`;

  function clientOf(name: unknown): GithubClient {
    const client = typeof name === 'string' ? clients.get(name) : undefined;
    if (client === undefined)
      throw new ProviderFault(PROVIDER, 'misconfigured', 'the lease names an app that is not configured');
    return client;
  }

  function opened(sealed: string, lease_id: unknown): string {
    try {
      return options.seal.open(sealed, purposeOf(String(lease_id))).toString();
    } catch {
      throw new ProviderFault(
        PROVIDER,
        'misconfigured',
        'the sealed token cannot be opened with this key-encryption key',
      );
    }
  }

  return {
    type: PROVIDER,
    entry: githubInstallationToken,
    gap: 'sealed-token',
    ttl: { min_seconds: 1, max_seconds: LIFE_SECONDS },
    target: (entry) => `${entry.app}/${entry.installation_id}`,

    plan({ entry, lease_id }, now) {
      if (!clients.has(entry.app))
        throw new Denied({
          tag: 'invalid_authorization_details',
          detail: `${PROVIDER}: there is no app "${entry.app}"`,
        });
      return {
        app: entry.app,
        lease_id,
        sealed: null,
        over_at: Math.ceil(now) + LIFE_SECONDS + SLACK_SECONDS,
      };
    },

    async issue(request: LeaseRequest<GithubInstallationToken>, context: IssueContext): Promise<Issued> {
      const { entry, lease_id } = request;
      const client = clientOf(entry.app);
      const { by, places } = repositoriesOf(entry);
      const asked = { [by]: places, permissions: entry.permissions };
      const answer = await client.createToken(entry.installation_id, asked, context.now);
      const token = tokenIn(answer);
      if (token === null)
        throw new ProviderFault(PROVIDER, 'unexpected_answer', 'creating a token: no token in the answer');
      const revocation: Revocation = {
        ...this.plan(request, context.now),
        sealed: options.seal.seal(Buffer.from(token), purposeOf(lease_id)),
      };
      try {
        // First of all: from here on a crash leaves a token that the broker can end.
        await context.record(revocation);
        const repositories = requireAsked(entry, answer);
        const until = endOf(request, context.now, LIFE_SECONDS);
        const expires_at = Math.min(until, endIn(answer, context.now));
        return {
          deliver: {
            token,
            api_url: client.app.api_url,
            repositories,
            permissions: answer['permissions'] ?? {},
            expires_at: rfc3339(expires_at),
          },
          revocation,
          expires_at,
        };
      } catch (cause) {
        // Wider than asked, or on nobody's record: it must not live. If this fails too, the record says what to end.
        await client.revokeToken(token).catch(() => undefined);
        throw cause;
      }
    },

    async revoke(revocation, now) {
      const { app, lease_id, sealed, over_at } = revocation;
      const left = typeof over_at === 'number' ? Math.max(0, Math.ceil(over_at - now)) : LIFE_SECONDS;
      if (left === 0) return { seconds: 0, why: 'the hour that GitHub gives a token was over' };
      if (typeof sealed !== 'string')
        return {
          seconds: left,
          why: 'a token that was never recorded was never delivered: if GitHub made one, it ends with its hour, or when the installation is suspended',
        };
      try {
        await clientOf(app).revokeToken(opened(sealed, lease_id));
      } catch (cause) {
        if (!(cause instanceof ProviderFault)) throw cause;
        throw unrevoked(cause, left);
      }
      return GONE;
    },

    residual: () => GONE,

    close: async () => {},
  };
}

/** The repositories of the answer, if they and its permissions are all within what was asked. */
function requireAsked(entry: GithubInstallationToken, answer: JsonObject): JsonObject[] {
  const { permissions, repositories, repository_selection } = answer;
  const wider = (what: string) =>
    new ProviderFault(PROVIDER, 'unexpected_answer', `creating a token: it has ${what} than were asked for`);
  if (!isJsonObject(permissions)) throw wider('other permissions');
  const allowed: JsonObject = { ...ALWAYS_GRANTED, ...entry.permissions };
  for (const [name, level] of Object.entries(permissions)) {
    const most = Object.hasOwn(allowed, name) ? (allowed[name] as GithubLevel) : undefined;
    if (!levelWithin(level, most)) throw wider('more permissions');
  }
  const { by, places } = repositoriesOf(entry);
  if (repository_selection !== 'selected' || !Array.isArray(repositories)) throw wider('more repositories');
  return (repositories as readonly unknown[]).map((repository) => {
    const { id, name, full_name } = isJsonObject(repository) ? repository : ({} as JsonObject);
    const place = by === 'repository_ids' ? id : typeof name === 'string' ? name.toLowerCase() : undefined;
    if (!places.some((one) => one === place)) throw wider('other repositories');
    return {
      ...(typeof id === 'number' && { id }),
      ...(typeof name === 'string' && { name }),
      ...(typeof full_name === 'string' && { full_name }),
    };
  });
}

/** Seconds since the epoch. A token that GitHub gives longer than its hour is none that we know how to account for. */
function endIn({ expires_at }: JsonObject, now: number): number {
  const end = typeof expires_at === 'string' ? Math.floor(Date.parse(expires_at) / 1000) : Number.NaN;
  if (!(end > now && end <= now + LIFE_SECONDS + SLACK_SECONDS))
    throw new ProviderFault(
      PROVIDER,
      'unexpected_answer',
      'creating a token: its end is not within the hour',
    );
  return end;
}

function unrevoked(cause: ProviderFault, seconds: number): ProviderFault {
  return new ProviderFault(PROVIDER, cause.code, cause.detail, {
    retry: cause.retry,
    residual: { seconds, why: 'the token works until the hour that GitHub gave it is over' },
    alternative: {
      kind: 'suspend_installation',
      blast_radius:
        'every token of the installation, also those of other missions and of other users of the app',
    },
  });
}
