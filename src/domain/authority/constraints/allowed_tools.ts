/** `allowed_tools`: the call goes through one of these tools, as the verifier names it in `context.tool`. */

import { labelsKind } from './labels.ts';

export const allowedTools = labelsKind(
  'allowed_tools',
  // One tool a call: a list here would not say which one acts.
  ({ tool }) => (typeof tool === 'string' ? tool : undefined),
  'through the tools',
);
