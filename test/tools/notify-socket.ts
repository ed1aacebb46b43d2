// What a service manager has: a unix datagram socket on which services say how they are. Node's own modules have none.
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import koffi from 'koffi';
import { waitFor } from './wait.ts';

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 0o2000002;
const MSG_DONTWAIT = 0x40;
const POLL_MS = 5;

const library = koffi.load(null);
const socket = library.func('int socket(int family, int type, int protocol)');
const bind = library.func('int bind(int fd, const void *address, uint32_t bytes)');
const recv = library.func('intptr_t recv(int fd, void *bytes, size_t count, int flags)');
const close = library.func('int close(int fd)');

export interface NotifySocket {
  /** For NOTIFY_SOCKET. */
  path: string;
  /** Each message with its lines, in the order in which they came. */
  messages: Record<string, string>[];
  /** Resolves with the first message that has this field, or this field with this value. */
  said(name: string, value?: string): Promise<Record<string, string>>;
  /** Nothing is read, as by a manager that is busy. */
  pause(): void;
  resume(): void;
}

export function openNotifySocket(context: TestContext, { isAbstract = false } = {}): NotifySocket {
  const name = join(tmpdir(), `tidegate-notify-${randomBytes(4).toString('hex')}`);
  const address = Buffer.from(isAbstract ? `\0\0\0${name}` : `\0\0${name}\0`);
  address.writeUInt16LE(AF_UNIX);
  const fd = socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
  if (bind(fd, address, address.length) !== 0) throw new Error(`cannot bind ${name}`);
  const messages: Record<string, string>[] = [];
  const bytes = Buffer.alloc(4096);
  const read = () => {
    for (;;) {
      const length = recv(fd, bytes, bytes.length, MSG_DONTWAIT);
      if (length <= 0) return;
      messages.push(fieldsOf(bytes.toString('utf8', 0, length)));
    }
  };
  let timer = setInterval(read, POLL_MS);
  context.after(() => {
    clearInterval(timer);
    close(fd);
    rmSync(name, { force: true });
  });
  return {
    path: isAbstract ? `@${name}` : name,
    messages,
    said: (field, value) =>
      waitFor(`word of ${field}`, () =>
        messages.find((message) => field in message && (value === undefined || message[field] === value)),
      ),
    pause: () => clearInterval(timer),
    resume: () => {
      timer = setInterval(read, POLL_MS);
    },
  };
}

function fieldsOf(text: string): Record<string, string> {
  const lines = text.split('\n').filter((line) => line !== '');
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}
