// The scenarios with TLS and WebSocket. Tidegate's WebSocket ends in plain MQTT, its rivals' is a tunnel to a broker that
// speaks WebSocket: they do less.
import { MODE_ECHO } from './layout.ts';
import type { LoadSettings } from './load.ts';
import { type Bench, openPaused, pausedOnceOpen, type Target } from './measure.ts';
import { cpuNs } from './process-usage.ts';
import type { ProxyProcess } from './proxies.ts';
import { each, type Figure, inSlices, perMessage, type Scenario } from './scenario.ts';
import { shakeHands, TlsClient } from './tls-client.ts';
import { WebSocketLoad } from './websocket-load.ts';

const MESSAGE_BYTES = 64;
const perHandshake: readonly Figure[] = [
  { key: 'cpuUs', label: 'proxy CPU, us per handshake', digits: 0, better: 'lower' },
  { key: 'perSecond', label: 'handshakes/s', digits: 0, better: 'higher' },
];

export const doorScenarios: readonly Scenario[] = [
  overTls('tls-ping-pong-100', 'TLS ping-pong, 100 connections', { clients: 100 }),
  overTls('tls-ping-pong-1000', 'TLS ping-pong, 1,000 connections', { clients: 1000 }),
  overTls('tls-16k', 'TLS, 16 KiB messages, 100 connections', { clients: 100, messageBytes: 16384 }),
  handshakes('full', 'TLS 1.3 handshakes, full'),
  handshakes('resumed', 'TLS 1.2 handshakes, resumed by ticket'),
  overWebSocket('websocket-ping-pong-100', 'WebSocket ping-pong, 100 connections', 100),
  overWebSocket('websocket-ping-pong-1000', 'WebSocket ping-pong, 1,000 connections', 1000),
];

function overTls(name: string, title: string, settings: Partial<LoadSettings> & { clients: number }): Scenario {
  const open = async (bench: Bench, target: Target) => {
    const client = await TlsClient.start(proxyOf(target).port);
    const end = () => client.stop();
    try {
      const dial = { host: '127.0.0.1', port: client.port };
      return { load: await openPaused(bench, target, { mode: MODE_ECHO, ...settings, target: dial }), end };
    } catch (error) {
      end();
      throw error;
    }
  };
  return { name, title, figures: perMessage, door: 'tls', rounds: 'many', prepare: inSlices(open) };
}

function handshakes(kind: 'full' | 'resumed', title: string): Scenario {
  const prepare = each(async ({ seconds }, target) => {
    const { pid, port } = proxyOf(target);
    const before = cpuNs(pid);
    const wholeSeconds = Math.max(1, Math.round(seconds));
    const count = await shakeHands(port, kind, wholeSeconds);
    return { cpuUs: (cpuNs(pid) - before) / 1000 / count, perSecond: count / wholeSeconds };
  });
  return { name: `tls-handshakes-${kind}`, title, figures: perHandshake, door: 'tls', rounds: 'few', prepare };
}

function overWebSocket(name: string, title: string, clients: number): Scenario {
  const open = async (_bench: Bench, target: Target) => {
    return { load: await pausedOnceOpen(new WebSocketLoad(proxyOf(target), clients, MESSAGE_BYTES), clients) };
  };
  return { name, title, figures: perMessage, door: 'websocket', rounds: 'many', prepare: inSlices(open) };
}

/** None of these is measured without a proxy. */
function proxyOf(target: Target): ProxyProcess {
  if (target === undefined) throw new Error('there is no proxy');
  return target;
}
