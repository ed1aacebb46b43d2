// From a backend's settings to a probe under way.
import type { Socket } from 'node:net';
import type { BackendTls } from '../../backend-tls.ts';
import type { HealthConfig, ProxyProtocol } from '../../config.ts';
import { encodeProxyHeader } from '../../core.ts';
import { decodeSockaddr } from '../../system/sockaddr.ts';
import type { Backend } from '../snapshot.ts';
import { type Conversation, NOTHING, startExchange } from './exchange.ts';
import type { Probe } from './finding.ts';
import { startHttpProbe } from './http-probe.ts';
import { mqttConversation } from './mqtt-probe.ts';
import { rawConversation } from './raw-probe.ts';
import { tcpConversation } from './tcp-probe.ts';

/** To the very address that clients are sent to, though perhaps to another port. */
export function startProbe(
  backend: Backend,
  { probe, port, timeoutMs, proxyProtocol }: HealthConfig,
  tls: BackendTls | undefined,
): Probe {
  const target = { host: decodeSockaddr(backend.sockaddr).host, port };
  if (probe.type === 'http') return startHttpProbe(target, timeoutMs, probe);
  const conversation = conversationOf(probe, backend.id);
  return startExchange(target, timeoutMs, conversation, {
    introduce: (socket) => introduction(socket, proxyProtocol),
    tls,
  });
}

// Its own two addresses, as if it were a client's: brokers answer nobody whose header tells no address (LOCAL, UNKNOWN).
function introduction(socket: Socket, proxyProtocol: ProxyProtocol): Uint8Array {
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  if (proxyProtocol === 'off' || localAddress === undefined || remoteAddress === undefined) return NOTHING;
  return encodeProxyHeader({
    version: proxyProtocol,
    source: { host: localAddress, port: localPort! },
    destination: { host: remoteAddress, port: remotePort! },
  });
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
