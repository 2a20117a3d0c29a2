/** Hands out status-list indexes at random, without a lookup per mission. */
import type { Chance, StatusSlots, Store } from '../ports.ts';

/** Wire profile 2.5: lists of 2^17 slots or more, so that an index says nothing about when or who. */
export const STATUS_LIST_SIZE = 2 ** 17;
/** A list is left at half full: a random probe then finds a free slot in two tries on average. */
const FULL = STATUS_LIST_SIZE / 2;

export async function openStatusSlots(store: Store, chance: Chance): Promise<StatusSlots> {
  let { list, taken } = await store.statusListInUse();
  let used = new Uint8Array(STATUS_LIST_SIZE);
  let count = 0;
  for (const index of taken) {
    used[index] = 1;
    count++;
  }
  taken = [];
  return {
    reserve() {
      if (count >= FULL) {
        list++;
        used = new Uint8Array(STATUS_LIST_SIZE);
        count = 0;
      }
      let index = chance.integer(STATUS_LIST_SIZE);
      while (used[index] === 1) index = chance.integer(STATUS_LIST_SIZE);
      used[index] = 1;
      count++;
      return { list, index };
    },
    release(slot) {
      if (slot.list !== list || used[slot.index] === 0) return;
      used[slot.index] = 0;
      count--;
    },
  };
}
