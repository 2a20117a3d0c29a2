/**
 * A Ceph cluster of one monitor, one OSD in memory and one RADOS Gateway on loopback: an STS and S3 of another
 * maker that enforce what they are told. From Debian's packages ceph-mon, ceph-osd, radosgw and ceph-common.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../support/free-port.ts';

const run = promisify(execFile);

export interface CephCluster {
  readonly url: string;
  readonly admin: { readonly access_key_id: string; readonly secret_access_key: string };
  close(): Promise<void>;
}

/** Ceph's daemons need root for their folders; its packages are large, so that they are optional outside CI. */
export function cephIsInstalled(): boolean {
  try {
    for (const program of ['ceph-mon', 'ceph-osd', 'radosgw', 'radosgw-admin', 'monmaptool'])
      execFileSync('which', [program], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export async function startCeph(): Promise<CephCluster> {
  const folder = mkdtempSync(join(tmpdir(), 'sortie-ceph-'));
  for (const name of ['mon', 'osd', 'run', 'log', 'rgw']) mkdirSync(join(folder, name));
  const [mon_port, rgw_port] = [await freePort(), await freePort()];
  const [fsid, osd] = [randomUUID(), randomUUID()];
  const monitor = `v1:127.0.0.1:${mon_port}`;
  writeFileSync(join(folder, 'ceph.conf'), configuration(folder, fsid, monitor, rgw_port));
  const env = { ...process.env, CEPH_CONF: join(folder, 'ceph.conf') };
  const call = (program: string, ...args: string[]) => run(program, args, { env, timeout: 60_000 });
  const daemons: ChildProcess[] = [];
  const start = (program: string, ...args: string[]) => {
    const daemon = spawn(program, [...args, '-f'], { env, stdio: 'ignore' });
    daemons.push(daemon);
    return daemon;
  };
  const close = async () => {
    for (const daemon of daemons.reverse()) {
      if (daemon.exitCode !== null || daemon.signalCode !== null) continue;
      const exited = new Promise((resolve) => daemon.once('exit', resolve));
      // Everything is in memory or in a folder that goes: there is nothing to save.
      daemon.kill('SIGKILL');
      await exited;
    }
    rmSync(folder, { recursive: true, force: true });
  };

  try {
    const keyring = join(folder, 'keyring');
    await call(
      'ceph-authtool',
      '--create-keyring',
      keyring,
      '--gen-key',
      '-n',
      'mon.',
      '--cap',
      'mon',
      'allow *',
    );
    for (const name of ['client.admin', 'client.rgw.a'])
      await call(
        'ceph-authtool',
        keyring,
        '--gen-key',
        '-n',
        name,
        '--cap',
        'mon',
        'allow *',
        '--cap',
        'osd',
        'allow *',
      );
    await call(
      'monmaptool',
      '--create',
      '--fsid',
      fsid,
      '--addv',
      'a',
      `[${monitor}]`,
      join(folder, 'monmap'),
    );
    await call('ceph-mon', '--mkfs', '-i', 'a', '--monmap', join(folder, 'monmap'), '--keyring', keyring);
    start('ceph-mon', '-i', 'a');
    await until('the monitor', () => call('ceph', '--connect-timeout', '5', 'osd', 'new', osd, '0'));
    await call('ceph-osd', '--mkfs', '-i', '0', '--osd-uuid', osd);
    await startOsd(start, call);
    start('radosgw', '-n', 'client.rgw.a', '--setuser', 'root');
    const url = `http://127.0.0.1:${rgw_port}`;
    await until('the gateway', () => fetch(url));
    const admin = { access_key_id: 'ADMINISTRATOR', secret_access_key: randomBytes(20).toString('hex') };
    const keys = [`--access-key=${admin.access_key_id}`, `--secret-key=${admin.secret_access_key}`];
    await call('radosgw-admin', 'user', 'create', '--uid=admin', '--display-name=admin', ...keys);
    await call('radosgw-admin', 'caps', 'add', '--uid=admin', '--caps=roles=*;oidc-provider=*;user-policy=*');
    return { url, admin, close };
  } catch (cause) {
    await close();
    throw cause;
  }
}

/** The OSD's first start sometimes meets a monitor that does not know it yet ("wrong fsid"), and gives up. */
async function startOsd(
  start: (program: string, ...args: string[]) => ChildProcess,
  call: (program: string, ...args: string[]) => Promise<{ readonly stdout: string }>,
): Promise<void> {
  let daemon = start('ceph-osd', '-i', '0');
  await until('the OSD', async () => {
    if (daemon.exitCode !== null) daemon = start('ceph-osd', '-i', '0');
    const { stdout } = await call('ceph', '--connect-timeout', '5', 'osd', 'stat', '--format=json');
    if ((JSON.parse(stdout) as { num_up_osds: number }).num_up_osds !== 1) throw new Error('not up');
  });
}

async function until(what: string, look: () => Promise<unknown>): Promise<void> {
  for (let attempt = 0; attempt < 60; attempt++) {
    const up = await look().then(
      () => true,
      () => false,
    );
    if (up) return;
    await pause(500);
  }
  throw new Error(`${what} did not come up`);
}

function configuration(folder: string, fsid: string, monitor: string, rgw_port: number): string {
  const settings = {
    fsid,
    mon_host: monitor,
    auth_cluster_required: 'none',
    auth_service_required: 'none',
    auth_client_required: 'none',
    osd_pool_default_size: 1,
    osd_pool_default_min_size: 1,
    osd_pool_default_pg_num: 4,
    osd_pool_default_pgp_num: 4,
    osd_crush_chooseleaf_type: 0,
    mon_allow_pool_size_one: true,
    mon_max_pg_per_osd: 1000,
    osd_objectstore: 'memstore',
    memstore_device_bytes: 268_435_456,
    ms_bind_msgr2: false,
    public_addr: '127.0.0.1',
    cluster_addr: '127.0.0.1',
    mon_data: join(folder, 'mon'),
    osd_data: join(folder, 'osd'),
    run_dir: join(folder, 'run'),
    log_file: join(folder, 'log', '$name.log'),
    admin_socket: join(folder, 'run', '$name.asok'),
    keyring: join(folder, 'keyring'),
    rgw_data: join(folder, 'rgw'),
    rgw_s3_auth_use_sts: true,
    rgw_sts_key: randomBytes(8).toString('hex'),
    // AWS's floor is 900: here, a session's own end can be waited for.
    rgw_sts_min_session_duration: 3,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  return `[global]\n${lines.join('\n')}\n[client.rgw.a]\nrgw_frontends = beast endpoint=127.0.0.1:${rgw_port}\n`;
}
