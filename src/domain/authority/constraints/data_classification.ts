/** `data_classification`: every label of the data is among these, as the verifier sets them in the context. */

import { labelsKind } from './labels.ts';

export const dataClassification = labelsKind(
  'data_classification',
  ({ data_classification }) => data_classification,
  'on data classified as',
);
