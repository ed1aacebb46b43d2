// Bytes of the operator's own, and what the answer must contain.
import type { ProbeConfig } from '../../config.ts';
import { type Conversation, NOTHING } from './exchange.ts';
import { passed } from './finding.ts';

type RawProbe = Extract<ProbeConfig, { type: 'raw' }>;

export function rawConversation({ send, expect }: RawProbe): Conversation {
  return {
    opening: send,
    hear: (answer) => (answer.includes(expect) ? passed('answered as expected') : undefined),
    farewell: NOTHING,
    awaited: 'the expected answer',
  };
}
