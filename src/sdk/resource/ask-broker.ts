/** The broker's word on a consequential call: AuthZEN evaluation with the token and its proof (wire profile 3). */
import type { CallContext } from '../../domain/authority/index.ts';
import { isJsonObject, type JsonObject, parseJson } from '../../domain/json.ts';
import type { BehaviourMode } from './behaviour.ts';
import type { BrokerClient } from './broker-client.ts';
import type { AskBroker } from './guard.ts';

const TIMEOUT_MS = 2_000;
const MAX_ANSWER_BYTES = 65_536;

/** Anything but a decision of exactly `true` in time is a no. */
export function askBroker(
  client: BrokerClient,
  behaviour: BehaviourMode | 'off' = 'off',
  timeout_ms = TIMEOUT_MS,
): AskBroker {
  return async (call, token) => {
    const context: JsonObject = {
      ...(call.context as JsonObject),
      access_token: token.authorization.slice(token.scheme.length + 1),
      parameters: call.parameters,
      method: call.method,
      url: call.url,
      // As this guard judges, and it reads what its calls answer.
      behaviour: { mode: behaviour, answers_inspected: true },
      ...(call.proof === undefined ? {} : { dpop: call.proof }),
    };
    const text = await client.text('/access/v1/evaluation', MAX_ANSWER_BYTES, {
      method: 'POST',
      timeout_ms,
      json: {
        subject: { type: 'mission', id: token.mission_id },
        action: { name: call.action },
        resource: { type: 'resource', id: call.resource },
        context,
      },
    });
    const answer = parseJson(text);
    if (!isJsonObject(answer)) return false;
    const { reason, retry, origins } = isJsonObject(answer['context']) ? answer['context'] : {};
    if (answer['decision'] === true)
      return {
        permitted: true,
        ...(isJsonObject(origins) && { origins: origins as unknown as NonNullable<CallContext['origins']> }),
      };
    return {
      permitted: false,
      ...(typeof reason === 'string' && { reason }),
      ...((retry === 'never' || retry === 'with_new_mission') && { retry }),
    };
  };
}
