/**
 * The only way out for attesters: one bounded request to an address from the configuration.
 *
 * Bounded in time and bytes, never redirected, never through a proxy, and guarded at connect time: the name is
 * resolved once, every address is checked, and the connection goes to those same addresses, so that a name
 * which changes its answer between check and use (DNS rebinding) gains nothing.
 */

import { lookup } from 'node:dns';
import { readFile, stat } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { BlockList, isIP, type LookupFunction } from 'node:net';

export interface EgressRequest {
  readonly url: string;
  readonly method?: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly max_bytes: number;
  readonly timeout_ms: number;
  /** Loopback, private and unique-local addresses, and plain `http:`. Link-local ones stay refused. */
  readonly allow_private_addresses: boolean;
  /** PEM certificates to trust instead of the built-in ones. */
  readonly ca?: string;
}

export interface EgressAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** Injected in tests; production uses {@link fetchGuarded}. Never follows a redirect: 3xx is an answer like any other. */
export type Egress = (request: EgressRequest) => Promise<EgressAnswer>;

/** Addresses that are nobody's server on the internet: RFC 6890 and the registries it started. */
const PRIVATE = blockList([
  ['10.0.0.0', 8],
  ['127.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['100.64.0.0', 10],
  ['::1', 128],
  ['fc00::', 7],
]);
/** Never reachable, whatever the configuration says: cloud metadata lives on link-local addresses. */
const NEVER = blockList([
  ['0.0.0.0', 8],
  ['169.254.0.0', 16],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
  // Metadata services outside of link-local: Alibaba Cloud, and AWS over IPv6.
  ['100.100.100.200', 32],
  ['fd00:ec2::', 32],
  ['::', 128],
  // Transition prefixes hide an IPv4 address: refused as a whole.
  ['2001::', 23],
  ['2001:db8::', 32],
  ['3fff::', 20],
  ['2002::', 16],
]);
/** All that is global in IPv6. The rest is refused unheard: translation prefixes, link-local, multicast, the future. */
const GLOBAL_IPV6 = blockList([['2000::', 3]]);

function blockList(subnets: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [address, prefix] of subnets)
    list.addSubnet(address, prefix, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  return list;
}

/** Whether attesters may connect to this IP address. Unparsable ones are refused. */
export function addressAllowed(address: string, allow_private_addresses: boolean): boolean {
  const version = isIP(address);
  if (version === 0 || address.includes('%')) return false;
  // An IPv6 address that stands for an IPv4 one is judged as that one, in any spelling.
  const ip = version === 6 ? embeddedIpv4(address) : address;
  if (ip === null) return check(address, 'ipv6', allow_private_addresses);
  return check(ip, 'ipv4', allow_private_addresses);
}

function check(address: string, family: 'ipv4' | 'ipv6', allow_private: boolean): boolean {
  if (NEVER.check(address, family)) return false;
  if (PRIVATE.check(address, family)) return allow_private;
  return family === 'ipv4' || GLOBAL_IPV6.check(address, family);
}

/** Prefixes of 96 bits before an IPv4 address: v4-mapped, NAT64 (RFC 6052), and the old v4-compatible form. */
const EMBEDDING = ['::ffff:', '64:ff9b::', '::'];

/** The IPv4 address that an IPv6 address stands for, else null. The URL parser gives one spelling of each address. */
function embeddedIpv4(address: string): string | null {
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  if (canonical === '::1' || canonical === '::') return null;
  const prefix = EMBEDDING.find((text) => canonical.startsWith(text));
  if (prefix === undefined) return null;
  const groups = canonical.slice(prefix.length).split(':');
  if (groups.length > 2) return null;
  const [low = 0, high = 0] = groups.reverse().map((group) => Number.parseInt(group || '0', 16));
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

/**
 * One request. Rejects on a refused address, a time-out, an answer that is too large, and network errors; the
 * messages name the host from the configuration and nothing of the answer.
 */
export const fetchGuarded: Egress = (request) =>
  new Promise((resolve, reject) => {
    const url = new URL(request.url);
    const fail = (why: string) => reject(new Error(`${url.host}: ${why}`));
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && request.allow_private_addresses)) {
      return fail('only https is allowed');
    }
    if (url.username !== '' || url.password !== '') return fail('credentials in an address are refused');
    // An address literal is never looked up, so the guard below would not see it.
    const literal = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
    if (isIP(literal) !== 0 && !addressAllowed(literal, request.allow_private_addresses)) {
      return fail('this address is not allowed');
    }
    const abort = new AbortController();
    // One deadline over look-up, connection, handshake and body: a trickle of bytes does not extend it.
    const timer = setTimeout(() => abort.abort(), request.timeout_ms);
    const finish = (act: () => void) => {
      clearTimeout(timer);
      act();
      abort.abort();
    };
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const outgoing = send(
      url,
      {
        method: request.method ?? 'GET',
        agent: false,
        lookup: guardedLookup(request.allow_private_addresses),
        headers: {
          accept: 'application/json',
          'user-agent': 'sortie',
          connection: 'close',
          ...request.headers,
          ...(request.body === undefined
            ? {}
            : { 'content-length': String(Buffer.byteLength(request.body)) }),
        },
        maxHeaderSize: 16_384,
        signal: abort.signal,
        ...(request.ca === undefined ? {} : { ca: request.ca }),
      },
      (incoming) => {
        readBody(incoming, request.max_bytes).then(
          (body) =>
            finish(() => resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body })),
          (error: Error) => finish(() => fail(abort.signal.aborted ? 'timed out' : error.message)),
        );
      },
    );
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      const timedOut = abort.signal.aborted;
      finish(() => fail(timedOut ? 'timed out' : (error.code ?? 'failed')));
    });
    outgoing.end(request.body);
  });

/** Resolves once; all addresses must be allowed, or none is used: a mixed answer is a lie. */
function guardedLookup(allow_private: boolean): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, '', 0);
      const first = addresses[0];
      if (first === undefined || !addresses.every(({ address }) => addressAllowed(address, allow_private))) {
        const refused: NodeJS.ErrnoException = new Error('address refused');
        refused.code = 'address is not allowed';
        return callback(refused, '', 0);
      }
      if (options.all) return callback(null, addresses);
      callback(null, first.address, first.family);
    });
  };
}

async function readBody(incoming: IncomingMessage, max_bytes: number): Promise<string> {
  const declared = Number(incoming.headers['content-length'] ?? 0);
  if (declared > max_bytes) throw new Error('the answer is too large');
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > max_bytes) throw new Error('the answer is too large');
    chunks.push(chunk);
  }
  // An early close ends the iteration with an error; a complete message is the only one that gets here.
  if (!incoming.complete) throw new Error('the answer broke off');
  return Buffer.concat(chunks).toString('utf8');
}

/** A file of the configuration, size-capped. @throws Error that names the path. */
export async function readCapped(path: string, max_bytes: number): Promise<string> {
  const { size } = await stat(path);
  if (size > max_bytes) throw new Error(`${path} is larger than ${max_bytes} bytes`);
  return readFile(path, 'utf8');
}
