// The process that we take over from; successor.ts is its side, and draws the conversation.
import { Socket } from 'node:net';
import { ALONE, READY } from './successor.ts';

/** Says that we serve. Resolves when the predecessor accepts nobody any more, or has ended. */
export async function succeed(channelFd: number): Promise<void> {
  const channel = new Socket({ fd: channelFd });
  const ended = new Promise<void>((resolve) => {
    let heard = '';
    channel.on('data', (bytes) => {
      heard += bytes;
      if (heard === ALONE) resolve();
    });
    channel.on('error', () => {}).on('close', () => resolve());
  });
  channel.write(READY);
  await ended;
  channel.destroy();
}
