// Does somebody accept connections? The kernel does for a broker that hangs, so this finds only what has ended.
import { type Conversation, NOTHING } from './exchange.ts';
import { passed } from './finding.ts';

export const tcpConversation: Conversation = {
  opening: NOTHING,
  hear: () => passed('connected'),
  farewell: NOTHING,
  awaited: 'a connection',
};
