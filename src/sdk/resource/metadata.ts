/** OAuth 2.0 Protected Resource Metadata (RFC 9728): where an agent that was refused learns which broker to ask. */
import type { JsonValue } from '../../domain/json.ts';
import { DPOP_ALGS } from './denial.ts';

export interface ResourceMetadata {
  readonly resource: string;
  readonly authorization_servers: readonly string[];
  readonly bearer_methods_supported: readonly ['header'];
  readonly dpop_signing_alg_values_supported: readonly string[];
  readonly dpop_bound_access_tokens_required: boolean;
  readonly authorization_details_types_supported: readonly string[];
  readonly resource_name?: string;
  readonly [member: string]: JsonValue | undefined;
}

const WELL_KNOWN = '/.well-known/oauth-protected-resource';

export function resourceMetadata(options: {
  readonly resource: string;
  readonly issuer: string;
  readonly bearer_allowed: boolean;
  readonly resource_name?: string;
}): ResourceMetadata {
  return {
    resource: options.resource,
    authorization_servers: [options.issuer],
    bearer_methods_supported: ['header'],
    dpop_signing_alg_values_supported: [...DPOP_ALGS],
    dpop_bound_access_tokens_required: !options.bearer_allowed,
    authorization_details_types_supported: ['mission_resource_access'],
    ...(options.resource_name === undefined ? {} : { resource_name: options.resource_name }),
  };
}

/** Section 3.1: the well-known part goes between the host and the path of the resource. */
export function metadataUrl(resource: string): string {
  const url = new URL(resource);
  const path = url.pathname === '/' ? '' : url.pathname;
  return `${url.origin}${WELL_KNOWN}${path}${url.search}`;
}

/** The path that the resource server answers itself. */
export function metadataPath(resource: string): string {
  const url = new URL(metadataUrl(resource));
  return url.pathname;
}
