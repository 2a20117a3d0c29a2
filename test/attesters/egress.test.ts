import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { addressAllowed, fetchGuarded } from '../../src/attesters/egress.ts';
import { startIssuer } from './support/issuer.ts';

const request = { max_bytes: 1_000, timeout_ms: 500, allow_private_addresses: true };

describe('the private-address guard', () => {
  it.each([
    '127.0.0.1',
    '127.9.9.9',
    '10.0.0.1',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '100.64.0.1',
    '::1',
    'fc00::1',
    'fd12:3456::1',
    '::ffff:10.0.0.1',
    '::ffff:7f00:1',
    '0:0:0:0:0:ffff:127.0.0.1',
    '::127.0.0.1',
  ])('keeps %s out, unless the attester allows private addresses', (address) => {
    expect(addressAllowed(address, false)).toBe(false);
    expect(addressAllowed(address, true)).toBe(true);
  });

  it.each([
    '169.254.169.254',
    '169.254.170.2',
    '0.0.0.0',
    '::',
    '224.0.0.1',
    '255.255.255.255',
    '240.0.0.1',
    'fe80::1',
    'fe80::1%eth0',
    'ff02::1',
    '::ffff:169.254.169.254',
    '::ffff:a9fe:a9fe',
    '64:ff9b::a9fe:a9fe',
    '2002:a9fe:a9fe::1',
    '100.100.100.200',
    'fd00:ec2::254',
    '192.0.2.1',
    '198.18.0.1',
    '2001:db8::1',
    '::ffff:0:7f00:1',
    '64:ff9b::1:7f00:1',
    '64:ff9b::e000:1',
    '3fff::1',
    '4000::1',
    '2001::1',
    'fec0::1',
    '',
    'localhost',
    '127.1',
    '0x7f000001',
    '2130706433',
  ])('keeps %s out always', (address) => {
    expect(addressAllowed(address, true)).toBe(false);
  });

  it.each([
    '8.8.8.8',
    '1.1.1.1',
    '172.32.0.1',
    '192.169.0.1',
    '2606:4700::1',
    '::ffff:8.8.8.8',
    '64:ff9b::808:808',
  ])('lets %s through', (address) => expect(addressAllowed(address, false)).toBe(true));

  it('stops a name, a literal and every spelling of loopback before a byte is sent', async () => {
    const local = await startIssuer();
    const { port } = new URL(local.url);
    for (const host of [
      'localhost',
      '127.0.0.1',
      '[::1]',
      '[::ffff:127.0.0.1]',
      '0x7f.1',
      '2130706433',
      '127.1',
      '0',
    ]) {
      const attempt = fetchGuarded({
        ...request,
        url: `https://${host}:${port}/`,
        allow_private_addresses: false,
      });
      await expect(attempt).rejects.toThrow(/not allowed/);
    }
    expect(local.requests).toEqual([]);
    await local.close();
  });

  it('permits plain http only together with private addresses', async () => {
    const attempt = fetchGuarded({ ...request, url: 'http://127.0.0.1:1/', allow_private_addresses: false });
    await expect(attempt).rejects.toThrow(/only https/);
    await expect(fetchGuarded({ ...request, url: 'file:///etc/passwd' })).rejects.toThrow(/only https/);
    await expect(fetchGuarded({ ...request, url: 'http://u:p@127.0.0.1/' })).rejects.toThrow(/credentials/);
  });
});

describe('one request', () => {
  it('is never redirected', async () => {
    const local = await startIssuer();
    local.answer = (_request, response) =>
      response.writeHead(302, { location: `${local.url}/elsewhere` }).end();
    expect((await fetchGuarded({ ...request, url: `${local.url}/a` })).status).toBe(302);
    expect(local.requests).toEqual(['/a']);
    await local.close();
  });

  it('ends at its deadline: no answer, no end of headers, or a trickle of body', async () => {
    const local = await startIssuer();
    local.answer = () => {};
    await expect(fetchGuarded({ ...request, url: local.url })).rejects.toThrow(/timed out/);
    let trickle: NodeJS.Timeout | undefined;
    local.answer = (_request, response) => {
      response.write('{');
      trickle = setInterval(() => response.write(' '), 50);
    };
    await expect(fetchGuarded({ ...request, url: local.url })).rejects.toThrow(/timed out/);
    clearInterval(trickle);
    await local.close();
  });

  it('ends at its size, declared or not', async () => {
    const local = await startIssuer();
    local.answer = (_request, response) => response.end('x'.repeat(2_000));
    await expect(fetchGuarded({ ...request, url: local.url })).rejects.toThrow(/too large/);
    local.answer = (_request, response) => {
      for (let part = 0; part < 20; part++) response.write('x'.repeat(100));
      response.end();
    };
    await expect(fetchGuarded({ ...request, url: local.url })).rejects.toThrow(/too large/);
    await local.close();
  });

  it('takes no half answer', async () => {
    const server = createServer((_request, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('{"keys":[]}');
      setTimeout(() => response.destroy(), 20);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    await expect(fetchGuarded({ ...request, url })).rejects.toThrow();
    server.close();
  });

  it('names the host and nothing of the answer when it fails', async () => {
    await expect(fetchGuarded({ ...request, url: 'http://127.0.0.1:1/secret?token=x' })).rejects.toThrow(
      /^127\.0\.0\.1:1: ECONNREFUSED$/,
    );
  });
});
