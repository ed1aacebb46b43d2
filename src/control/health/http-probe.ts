// What the broker's HTTP API says of it: 200 up, 503 drain.
import { type IncomingMessage, request } from 'node:http';
import { type Address, formatAddress } from '../../config/address.ts';
import type { ProbeConfig } from '../../config.ts';
import { startDeadline } from './deadline.ts';
import {
  connectFailed,
  connectionLost,
  drained,
  type Finding,
  failed,
  type Probe,
  passed,
  timedOut,
} from './finding.ts';

type HttpProbe = Extract<ProbeConfig, { type: 'http' }>;

/** A connection for each: one that is kept tells nothing of whether another would be accepted. */
export function startHttpProbe(target: Address, timeoutMs: number, { path, host }: HttpProbe): Probe {
  const headers = { host: host ?? formatAddress(target), 'user-agent': 'tidegate-health' };
  const sent = request({ ...target, path, headers, agent: false }).end();
  let isConnected = false;
  sent.once('socket', (socket) => {
    socket.once('connect', () => {
      isConnected = true;
    });
  });
  const finding = Promise.withResolvers<Finding>();
  const deadline = startDeadline(timeoutMs, () => {
    finding.resolve(timedOut(isConnected, timeoutMs));
    sent.destroy();
  });
  sent.once('response', (response) => {
    finding.resolve(judgeStatus(response));
    response.on('error', () => {}).resume(); // to its end, so that the server isn't cut off
  });
  sent.on('error', (error) => finding.resolve(isConnected ? answerFailed(error) : connectFailed(error)));
  const ended = new Promise<void>((resolve) => sent.once('close', () => resolve(deadline.cancel())));
  return { finding: finding.promise, ended, abandon: () => sent.destroy() };
}

/** Node's parser gives its errors codes of their own. */
function answerFailed(error: NodeJS.ErrnoException): Finding {
  return error.code?.startsWith('HPE_') ? failed('answered with something else than HTTP') : connectionLost(error);
}

function judgeStatus({ statusCode }: IncomingMessage): Finding {
  const reason = `HTTP status ${statusCode}`;
  if (statusCode === 200) return passed(reason);
  return statusCode === 503 ? drained(reason) : failed(reason);
}
