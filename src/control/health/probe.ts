// From a backend's settings to a probe under way.
import type { HealthConfig } from '../../config.ts';
import { decodeSockaddr } from '../../system/sockaddr.ts';
import type { Backend } from '../snapshot.ts';
import { type Conversation, startExchange } from './exchange.ts';
import type { Probe } from './finding.ts';
import { startHttpProbe } from './http-probe.ts';
import { mqttConversation } from './mqtt-probe.ts';
import { rawConversation } from './raw-probe.ts';
import { tcpConversation } from './tcp-probe.ts';

/** To the very address that clients are sent to, though perhaps to another port. */
export function startProbe(backend: Backend, { probe, port, timeoutMs }: HealthConfig): Probe {
  const target = { host: decodeSockaddr(backend.sockaddr).host, port };
  if (probe.type === 'http') return startHttpProbe(target, timeoutMs, probe);
  return startExchange(target, timeoutMs, conversationOf(probe, backend.id));
}

function conversationOf(probe: Exclude<HealthConfig['probe'], { type: 'http' }>, backendId: number): Conversation {
  switch (probe.type) {
    case 'mqtt':
      return mqttConversation(probe, backendId);
    case 'tcp':
      return tcpConversation;
    case 'raw':
      return rawConversation(probe);
  }
}
