// What a client asks for in the first message of a TLS handshake, which is read here and left as it is (RFC 8446, section
// 4.1.2, and RFC 6066, section 3).

/** partial: more must be seen. none: this is no such message. */
export type ClientHello =
  | { state: 'partial' | 'none'; name?: undefined }
  | { state: 'whole'; name: string | undefined };

const PARTIAL: ClientHello = { state: 'partial' };
const NONE: ClientHello = { state: 'none' };
const RECORD_HANDSHAKE = 22;
const RECORD_HEAD_BYTES = 5;
const RECORD_BYTES_MAX = 1 << 14;
const CLIENT_HELLO = 1;
const MESSAGE_HEAD_BYTES = 4;
/** Some keys of our days have more than a kilobyte each, and a client may bring several. */
const MESSAGE_BYTES_MAX = 1 << 15;
const FIXED_BYTES = 2 + 32;
const EXTENSION_SERVER_NAME = 0;
const NAME_HOST = 0;
const HOST_PATTERN = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;

/** `bytes` are all that came so far; the message may be spread over several records. */
export function readClientHello(bytes: Buffer): ClientHello {
  let message = Buffer.alloc(0);
  for (let at = 0; ; ) {
    const head = bytes.subarray(at, at + RECORD_HEAD_BYTES);
    if ((head.length > 0 && head[0] !== RECORD_HANDSHAKE) || (head.length > 1 && head[1] !== 3)) return NONE;
    if (head.length < RECORD_HEAD_BYTES) return PARTIAL;
    const length = head.readUInt16BE(3);
    if (length === 0 || length > RECORD_BYTES_MAX) return NONE;
    const begin = at + RECORD_HEAD_BYTES;
    at = begin + length;
    message = Buffer.concat([message, bytes.subarray(begin, at)]);
    const hello = readMessage(message);
    if (hello !== PARTIAL || at > bytes.length) return hello;
  }
}

function readMessage(message: Buffer): ClientHello {
  if (message.length > 0 && message[0] !== CLIENT_HELLO) return NONE;
  if (message.length < MESSAGE_HEAD_BYTES) return PARTIAL;
  const end = MESSAGE_HEAD_BYTES + message.readUIntBE(1, 3);
  if (end > MESSAGE_BYTES_MAX) return NONE;
  if (message.length < end) return PARTIAL;
  try {
    return { state: 'whole', name: nameIn(message.subarray(MESSAGE_HEAD_BYTES, end)) };
  } catch (error) {
    if (error instanceof RangeError) return NONE; // a length that reaches past the end
    throw error;
  }
}

/** undefined: it names no host. */
function nameIn(hello: Buffer): string | undefined {
  const [, afterSession] = vector(hello, FIXED_BYTES, 1);
  const [, afterCiphers] = vector(hello, afterSession, 2);
  const [, afterCompressions] = vector(hello, afterCiphers, 1);
  if (afterCompressions === hello.length) return undefined; // TLS 1.2 can do without extensions
  const [extensions] = vector(hello, afterCompressions, 2);
  for (let at = 0; at < extensions.length; ) {
    const type = extensions.readUInt16BE(at);
    const [extension, after] = vector(extensions, at + 2, 2);
    if (type === EXTENSION_SERVER_NAME) return hostIn(vector(extension, 0, 2)[0]);
    at = after;
  }
  return undefined;
}

function hostIn(names: Buffer): string {
  const [name] = vector(names, 1, 2);
  const host = name.toString('latin1');
  if (names[0] !== NAME_HOST || !HOST_PATTERN.test(host)) throw new RangeError('no host');
  return host.toLowerCase();
}

/** What stands behind its length, and where that ends. Throws a RangeError where there is less. */
function vector(bytes: Buffer, at: number, lengthBytes: number): [content: Buffer, end: number] {
  const begin = at + lengthBytes;
  const end = begin + bytes.readUIntBE(at, lengthBytes);
  if (end > bytes.length) throw new RangeError('past the end');
  return [bytes.subarray(begin, end), end];
}
