// Changes of health as lines of the operational log.
import type { Logger } from '../../logger.ts';
import type { Operator } from '../operator.ts';
import type { HealthChange } from './judge.ts';
import type { HealthState } from './trial.ts';

const SAID: Record<HealthState, string> = {
  up: 'takes clients',
  suspect: 'is passed over',
  down: 'is down',
  drain: 'takes nobody new',
};

export function logChanges(log: Logger, operator: Operator): (change: HealthChange) => void {
  return ({ backend, state, reason }) => {
    const { pool, config } = backend;
    const said = operator.stateOf(backend);
    const overruled = said === 'up' ? '' : `; an operator keeps it in ${said}`;
    const fields = { event: 'backend_state', pool, backend: config.address, health: state, reason } as const;
    const message = `backend ${config.address} ${SAID[state]}: ${reason}${overruled}`;
    if (state === 'suspect' || state === 'down') log.warn(fields, message);
    else log.info(fields, message);
  };
}
