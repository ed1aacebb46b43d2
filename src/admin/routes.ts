// Everything that the admin API answers. A new part of it is one more file in routes/ and one more line here.
import type { Route } from './route.ts';
import { reopenAccessLog } from './routes/access-log.ts';
import { addBackend, changeBackend, removeBackend } from './routes/backends.ts';
import { connections, kickConnection } from './routes/connections.ts';
import { events } from './routes/events.ts';
import { live } from './routes/live.ts';
import { metrics } from './routes/metrics.ts';
import { drainBackend, moves, rebalancePool, stopMove } from './routes/moves.ts';
import { openapi } from './routes/openapi.ts';
import { page, pageFile } from './routes/page.ts';
import { healthz, readyz } from './routes/probes.ts';
import { reload } from './routes/reload.ts';
import { status } from './routes/status.ts';

export const routes: readonly Route[] = [
  healthz,
  readyz,
  metrics,
  status,
  changeBackend,
  addBackend,
  removeBackend,
  reload,
  drainBackend,
  rebalancePool,
  moves,
  stopMove,
  connections,
  kickConnection,
  events,
  live,
  reopenAccessLog,
  openapi(() => routes),
  page,
  pageFile,
];
