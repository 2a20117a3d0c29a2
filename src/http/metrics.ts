/** Counters and latencies, in the one shape that everybody scrapes. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { RequestObservation } from './server.ts';

export function createMetrics() {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const requests = new Counter({
    name: 'sortie_http_requests_total',
    help: 'Requests by route and status.',
    labelNames: ['route', 'method', 'status'],
    registers: [registry],
  });
  const latency = new Histogram({
    name: 'sortie_http_request_seconds',
    help: 'Latency by route.',
    labelNames: ['route'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
    registers: [registry],
  });
  const refusals = new Counter({
    name: 'sortie_refusals_total',
    help: 'Refused requests by route and tag.',
    labelNames: ['route', 'tag'],
    registers: [registry],
  });
  const feedReaders = new Gauge({
    name: 'sortie_feed_readers',
    help: 'Verifier processes that acknowledged, by whether they enforce everything that concerns them.',
    labelNames: ['current'],
    registers: [registry],
  });
  // Looking a child up by its labels costs more than counting; there are few routes and statuses.
  const counters = new Map<string, Counter.Internal>();
  const timers = new Map<string, Histogram.Internal<string>>();
  const childOf = <T>(known: Map<string, T>, key: string, make: () => T): T => {
    const found = known.get(key) ?? make();
    known.set(key, found);
    return found;
  };
  return {
    content_type: registry.contentType,
    text: () => registry.metrics(),
    feedReaders,
    observe(event: RequestObservation) {
      childOf(counters, `${event.method} ${event.route} ${event.status}`, () =>
        requests.labels(event.route, event.method, String(event.status)),
      ).inc();
      childOf(timers, event.route, () => latency.labels(event.route)).observe(event.seconds);
      if (event.refused) refusals.inc({ route: event.route, tag: event.refused.tag });
    },
  };
}
