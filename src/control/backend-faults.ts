// What workers say of TLS with a backend, as lines of the log: one a minute for each backend and fault, however many
// clients meet it.
import type { BackendFault } from '../front/door-settings.ts';
import type { Logger } from '../logger.ts';
import { LogPace } from './log-pace.ts';
import type { Backend } from './snapshot.ts';

const SILENCE_MS = 60_000;

export function reportFaults(backends: () => readonly Backend[], log: Logger): (fault: BackendFault) => void {
  const pace = new LogPace(SILENCE_MS);
  return ({ backend: id, fault }) => {
    const backend = backends().find((each) => each.id === id);
    if (backend === undefined || pace.begin(`${id} ${fault}`) === null) return;
    const { pool, config } = backend;
    const fields = { event: 'backend_tls', pool, backend: config.address, fault } as const;
    log.error(fields, `backend ${config.address} of pool ${pool}: TLS failed: ${fault}`);
  };
}
