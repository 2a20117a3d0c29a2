/** `GET /missions/{id}`: an agent knows exactly what it holds. Values are never stored, so none is shown. */
import type { Ports } from '../ports.ts';
import { commit } from './conflicts.ts';
import { authenticateHolder, type HolderCredentials } from './holder.ts';
import { type Manifest, manifestOf } from './manifest.ts';
import { scarcest } from './purse.ts';

/** A mission that is no longer active is still shown to its own key: it learns why its calls fail. @throws Denied */
export async function readManifest(
  ports: Ports,
  credentials: HolderCredentials,
  mission_id: string,
): Promise<Manifest> {
  const holder = await authenticateHolder(ports, credentials, mission_id);
  await commit(ports, [holder.spend]);
  return manifestOf(
    ports,
    holder.mission,
    await ports.store.credentials(mission_id),
    new Map(),
    await scarcest(ports, holder.mission),
    ports.clock.now(),
  );
}
