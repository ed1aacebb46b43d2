// What the listeners of a simulation ask of their clients, and have their brokers told instead.
import type { IdentityConfig } from '../../src/config.ts';
import type { Random } from '../tools/random.ts';
import type { ConnectFields } from './packets.ts';

export interface Rules {
  /** Whoever comes from there is turned away; none: nobody. */
  deny: string[];
  identity: IdentityConfig | null;
}

const DENIED_IDS = 'device-*3-*';
/** A longer one isn't looked at where any are denied. */
const LOOKED_AT_BYTES_MAX = 1024;

export function planRules(random: Random): Rules {
  const deny = random.chance(0.1) ? ['fd01::/16'] : [];
  if (random.chance(0.65)) return { deny, identity: null };
  return {
    deny,
    identity: {
      clientId: { patterns: [], deny: random.chance(0.3) ? [DENIED_IDS] : [], empty: 'allow' },
      username: { patterns: [], deny: [], required: false },
      rewrite: {
        clientId: random.pick([null, 'it', 'r/${client_id}', '${client_id}${client_id}']),
        username: random.pick([null, 'gateway', 'u'.repeat(300), '${client_id}']),
        password: random.pick([null, null, 'secret', 'p'.repeat(1000)]),
      },
    },
  };
}

export function isAddressDenied({ deny }: Rules, sockaddr: Uint8Array): boolean {
  return deny.length > 0 && sockaddr.length > 16 && sockaddr[8] === 0xfd;
}

export function isClientIdDenied({ identity }: Rules, clientId: string): boolean {
  if (identity === null || identity.clientId.deny.length === 0) return false;
  return /^device-\d*3-/.test(clientId) || clientId.length > LOOKED_AT_BYTES_MAX;
}

/** What the backends are told of a client that says this. */
export function rewritten({ identity }: Rules, said: ConnectFields): ConnectFields {
  if (identity === null) return said;
  const { clientId, username, password } = identity.rewrite;
  const fill = (template: string | null) => template?.replaceAll('${client_id}', said.clientId);
  const newPassword = fill(password) ?? said.password;
  return {
    ...said,
    clientId: fill(clientId) ?? said.clientId,
    username: fill(username) ?? said.username ?? (newPassword !== null && said.version < 5 ? '' : null),
    password: newPassword,
  };
}
