/** `regions`: the call runs in one of these regions, as the verifier sets it in `context.region`. */

import { labelsKind } from './labels.ts';

export const regions = labelsKind(
  'regions',
  ({ region }) => (typeof region === 'string' ? region : undefined),
  'in the regions',
);
