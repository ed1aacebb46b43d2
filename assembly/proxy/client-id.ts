// ClientIds that outlive their CONNECT, for the access log. Up to CLIENT_ID_INLINE_BYTES stand in the cold line;
// longer ones in a chain of arena chunks:
//
//   chunk 64 B = u32 next chunk, or NONE | 60 bytes
//
// An arena that is full costs the log a cut-off ClientId, never the connection.
import { ARENA_CHUNK_BYTES, CLIENT_ID_INLINE_BYTES, CLIENT_ID_KEPT_BYTES_MAX, NONE } from '../layout';
import { Cold } from '../memory';
import { count, header } from './table';

const CHUNK_DATA_BYTES: u32 = ARENA_CHUNK_BYTES - 4;
const CLIENT_ID = offsetof<Cold>('clientId');

let chunksBase: usize = 0;
let chunksMax: u32 = 0;
let chunksTouched: u32 = 0;
let freeChunk: u32 = NONE;

export function attachClientIds(): void {
  chunksBase = header().arena;
  chunksMax = header().arenaChunks;
  chunksTouched = 0;
  freeChunk = NONE;
}

/**
 * Keeps a copy; `line.clientIdBytes` becomes its whole length, what is kept may be less. The length is written last, and
 * taken away first: the main thread reads along, and what it finds between two looks at the same length is whole.
 */
export function keepClientId(line: Cold, bytes: usize, length: u32): void {
  if (length <= <u32>CLIENT_ID_INLINE_BYTES) memory.copy(changetype<usize>(line) + CLIENT_ID, bytes, length);
  else keepInChunks(line, bytes, min<u32>(length, CLIENT_ID_KEPT_BYTES_MAX));
  line.clientIdBytes = <u16>length; // MQTT's strings are no longer than that
}

function keepInChunks(line: Cold, bytes: usize, left: u32): void {
  let link = changetype<usize>(line) + CLIENT_ID;
  while (left > 0) {
    const chunk = takeChunk();
    store<u32>(link, chunk);
    if (chunk == NONE) return;
    const part = min<u32>(left, CHUNK_DATA_BYTES);
    memory.copy(chunkAddress(chunk) + 4, bytes, part);
    bytes += part;
    left -= part;
    link = chunkAddress(chunk);
  }
  store<u32>(link, NONE);
}

/** Copies what is kept to `out` (room for CLIENT_ID_KEPT_BYTES_MAX) and returns how many bytes that were. */
export function copyClientId(line: Cold, out: usize): u32 {
  const length = line.clientIdBytes;
  if (length <= <u32>CLIENT_ID_INLINE_BYTES) {
    memory.copy(out, changetype<usize>(line) + CLIENT_ID, length);
    return length;
  }
  let left = min<u32>(length, CLIENT_ID_KEPT_BYTES_MAX);
  let copied: u32 = 0;
  for (let chunk = line.clientId; chunk != NONE; chunk = load<u32>(chunkAddress(chunk))) {
    const part = min<u32>(left, CHUNK_DATA_BYTES);
    memory.copy(out + copied, chunkAddress(chunk) + 4, part);
    copied += part;
    left -= part;
  }
  return copied;
}

export function forgetClientId(line: Cold): void {
  const length = line.clientIdBytes;
  line.clientIdBytes = 0;
  if (length <= <u32>CLIENT_ID_INLINE_BYTES) return;
  let chunk = line.clientId;
  while (chunk != NONE) {
    const next = load<u32>(chunkAddress(chunk));
    store<u32>(chunkAddress(chunk), freeChunk);
    freeChunk = chunk;
    count().arenaUsed--;
    chunk = next;
  }
}

function takeChunk(): u32 {
  let chunk = freeChunk;
  if (chunk != NONE) freeChunk = load<u32>(chunkAddress(chunk));
  else if (chunksTouched < chunksMax) chunk = chunksTouched++;
  else return NONE;
  count().arenaUsed++;
  return chunk;
}

function chunkAddress(chunk: u32): usize {
  assert(chunk < chunksMax);
  return chunksBase + <usize>chunk * ARENA_CHUNK_BYTES;
}
