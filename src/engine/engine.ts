// The two engines, and which one carries the connections.
import type { Config } from '../config.ts';
import { TidegateError } from '../errors.ts';
import type { Logger } from '../logger.ts';

export type EngineName = 'uring' | 'portable';

/** What a worker thread is given; everything else is in its memory. */
export interface WorkerStart {
  engine: EngineName;
  index: number;
  memory: WebAssembly.Memory;
  module: WebAssembly.Module;
  /** This worker's own, in the order of the configuration's listeners. */
  listenerFds: number[];
}

/** Whether rings work here, and if not, what forbids them. */
export async function probeUring(): Promise<{ ok: true } | { ok: false; why: string }> {
  if (process.platform !== 'linux') return { ok: false, why: `io_uring is Linux's, and this is ${process.platform}` };
  const uring = await import('./uring.ts');
  return uring.probeUring();
}

/** Says which and why, in one line. */
export async function chooseEngine(config: Config, log: Logger): Promise<EngineName> {
  if (config.engine === 'portable') return announce('portable', 'the configuration asks for it', log);
  const probe = await probeUring();
  if (probe.ok) {
    const why = config.engine === 'uring' ? 'the configuration asks for it' : 'the kernel allows io_uring';
    return announce('uring', why, log);
  }
  if (config.engine === 'auto') return announce('portable', probe.why, log);
  throw new TidegateError('URING', `engine uring can't be had: ${probe.why}; set engine to auto or portable`);
}

function announce(engine: EngineName, why: string, log: Logger): EngineName {
  log.info({ engine }, `engine ${engine}: ${why}`);
  return engine;
}
