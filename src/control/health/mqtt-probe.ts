// Is there a broker that takes clients? Asks as a client does, and leaves as a client does.
import { hostname } from 'node:os';
import type { ProbeConfig } from '../../config.ts';
import { describeCode, isEvacuating } from './connack-codes.ts';
import type { Conversation } from './exchange.ts';
import { drained, type Finding, failed, passed } from './finding.ts';
import { DISCONNECT, encodeConnect, readConnack, type Version } from './mqtt-packets.ts';

/** The broker hears DISCONNECT long before. */
const KEEP_ALIVE_SECONDS = 60;
const HOST_NAME_CHARACTERS_MAX = 32;

type MqttProbe = Extract<ProbeConfig, { type: 'mqtt' }>;

export function mqttConversation({ version, username, password }: MqttProbe, backendId: number): Conversation {
  const clientId = probeClientId(backendId);
  return {
    opening: encodeConnect({ version, clientId, username, password, keepAliveSeconds: KEEP_ALIVE_SECONDS }),
    hear: (answer) => judgeConnack(answer, version),
    farewell: DISCONNECT,
    awaited: 'CONNACK',
  };
}

/**
 * No two probes that may meet share a ClientId, or the later one would end the earlier: not those of two Tidegates, nor,
 * where the brokers are one cluster, those of two backends.
 */
function probeClientId(backendId: number): string {
  const host = hostname()
    .replace(/\..*/, '')
    .replace(/[^A-Za-z0-9-]/g, '-')
    .slice(0, HOST_NAME_CHARACTERS_MAX);
  return `tidegate-health-${host}-${process.pid}-${backendId}`;
}

function judgeConnack(answer: Buffer, version: Version): Finding | undefined {
  const connack = readConnack(answer, version);
  if (connack.state === 'partial') return undefined;
  if (connack.state === 'malformed') return failed('answered CONNECT with something else than CONNACK');
  if (connack.code === 0) return passed('CONNECT accepted');
  const reason = `CONNECT refused with code ${describeCode(connack.code, version)}`;
  return isEvacuating(connack.code) ? drained(reason) : failed(reason);
}
